/**
 * Answers of `POST /v1/chat/completions`.
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

const tokenSchema = z.object({
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int()).readonly(),
});

const tokenLogprobSchema = z.object({
  ...tokenSchema.shape,
  top_logprobs: z.array(tokenSchema),
}).openapi("ChatTokenLogprob");

const logprobsSchema = z.object({ content: z.array(tokenLogprobSchema), refusal: z.null() })
  .openapi("ChatLogprobs");

const choiceSchema = z.object({
  index: z.int(),
  message: z.object({
    role: z.literal("assistant"),
    content: z.string(),
    refusal: z.null(),
  }),
  logprobs: logprobsSchema.nullable(),
  ...endFields,
  ...tokenFields,
}).openapi("ChatChoice");

const chunkChoiceSchema = z.object({
  index: z.int(),
  delta: z.object({
    role: z.literal("assistant").optional(),
    content: z.string().optional(),
  }),
  logprobs: logprobsSchema.nullable(),
  ...endFields,
  ...tokenFields,
}).openapi("ChatChunkChoice");

/** A whole answer. */
export const chatCompletionSchema = z.object({
  ...headFields,
  object: z.literal("chat.completion"),
  choices: z.array(choiceSchema),
  usage: usageSchema,
  prompt_logprobs: promptLogprobsSchema.optional(),
}).openapi("ChatCompletion");

/** The data of one event of a stream. */
export const chatChunkSchema = z.object({
  ...headFields,
  object: z.literal("chat.completion.chunk"),
  choices: z.array(chunkChoiceSchema),
  usage: usageSchema.nullish(),
}).openapi("ChatCompletionChunk");

/** See {@linkcode chatCompletionSchema}. */
export type ChatCompletion = z.output<typeof chatCompletionSchema>;
/** See {@linkcode chatChunkSchema}. */
export type ChatCompletionChunk = z.output<typeof chatChunkSchema>;
/** A choice of a whole answer. */
export type ChatChoice = z.output<typeof choiceSchema>;
/** A choice of a chunk. */
export type ChatChunkChoice = z.output<typeof chunkChoiceSchema>;
/** Log-probabilities of a choice. */
export type ChatLogprobs = z.output<typeof logprobsSchema>;
/** A token, without those that might have stood in its place. */
export type ChatToken = z.output<typeof tokenSchema>;
/** A token with those. */
export type ChatTokenLogprob = z.output<typeof tokenLogprobSchema>;
