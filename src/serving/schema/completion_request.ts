/**
 * The body of `POST /v1/completions`.
 * @module
 */
import { z } from "@hono/zod-openapi";
import { MAX_LOGPROBS } from "./limits.ts";
import { neutral } from "./neutral.ts";
import { promptSchema } from "./prompt.ts";
import { informationalFields, neutralFields, samplingFields } from "./sampling_fields.ts";
import { refineStreamOptions } from "./stream_options.ts";

/** Validates a completion request. */
export const completionRequestSchema = z.strictObject({
  ...samplingFields,
  ...informationalFields,
  ...neutralFields,
  prompt: promptSchema,
  max_tokens: z.int32().min(0).nullish(),
  logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish(),
  echo: z.boolean().nullish(),
  add_special_tokens: z.boolean().nullish(),
  best_of: neutral(1),
  suffix: neutral(),
}).superRefine(refineStreamOptions).openapi("CompletionRequest");

/** A valid completion request. */
export type CompletionRequest = z.output<typeof completionRequestSchema>;
