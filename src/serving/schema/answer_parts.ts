/**
 * What answers of completions and chat completions have in common.
 * @module
 */
import { z } from "@hono/zod-openapi";

/** Tokens that a request has used. */
export const usageSchema = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  prompt_tokens_details: z.object({ cached_tokens: z.int() }),
}).openapi("Usage");

/** Log-probabilities of a prompt, in vLLM's shape: tokens by id at each place, null for the first. */
export const promptLogprobsSchema = z.array(
  z.record(
    z.string(),
    z.object({
      logprob: z.number(),
      rank: z.int().nullable().openapi({
        description: "Place among all tokens, from 1; null for one that is none of the top ones.",
      }),
      decoded_token: z.string(),
    }),
  ).nullable(),
).openapi("PromptLogprobs");

/** Fields of every answer, and of every chunk of a stream. */
export const headFields = {
  id: z.string(),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
  weight_version: z.string(),
} as const;

/** How a choice ends; nulls before. */
export const endFields = {
  finish_reason: z.string().nullable(),
  stop_reason: z.union([z.string(), z.int()]).nullable(),
} as const;

/** Tokens of a choice, where `return_token_ids` asks for them. */
export const tokenFields = {
  prompt_token_ids: z.array(z.int()).readonly().optional(),
  token_ids: z.array(z.int()).optional(),
} as const;

/** See {@linkcode usageSchema}. */
export type Usage = z.output<typeof usageSchema>;

/** See {@linkcode promptLogprobsSchema}. */
export type PromptLogprobs = z.output<typeof promptLogprobsSchema>;
