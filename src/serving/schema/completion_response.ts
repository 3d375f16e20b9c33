/**
 * Answers of `POST /v1/completions`.
 * @module
 */
import { z } from "@hono/zod-openapi";
import {
  endFields,
  headFields,
  promptLogprobsSchema,
  tokenFields,
  usageSchema,
} from "./answer_parts.ts";

const logprobsSchema = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
  text_offset: z.array(z.int()),
}).openapi("CompletionLogprobs");

const choiceSchema = z.object({
  index: z.int(),
  text: z.string(),
  logprobs: logprobsSchema.nullable(),
  ...endFields,
  prompt_logprobs: promptLogprobsSchema.optional(),
  ...tokenFields,
}).openapi("CompletionChoice");

const head = { ...headFields, object: z.literal("text_completion") } as const;

/** A whole answer. */
export const completionSchema = z.object({
  ...head,
  choices: z.array(choiceSchema),
  usage: usageSchema,
}).openapi("Completion");

/** The data of one event of a stream. */
export const completionChunkSchema = z.object({
  ...head,
  choices: z.array(choiceSchema),
  usage: usageSchema.nullish(),
}).openapi("CompletionChunk");

/** See {@linkcode completionSchema}. */
export type Completion = z.output<typeof completionSchema>;
/** See {@linkcode completionChunkSchema}. */
export type CompletionChunk = z.output<typeof completionChunkSchema>;
/** A choice of either. */
export type CompletionChoice = z.output<typeof choiceSchema>;
/** Log-probabilities of a choice. */
export type CompletionLogprobs = z.output<typeof logprobsSchema>;
