/**
 * The body of `POST /v1/completions`.
 * @module
 */
import { z } from "@hono/zod-openapi";
import { MAX_CHOICES, MAX_LOGPROBS } from "./limits.ts";
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
  best_of: z.int().min(1).max(MAX_CHOICES).nullish(),
  suffix: neutral(),
}).superRefine((request, context) => {
  refineStreamOptions(request, context);
  const refuse = (field: string, message: string): void =>
    context.addIssue({ code: "custom", path: [field], message });
  const { n, best_of, stream, prompt } = request;
  const choices = n ?? 1;
  const candidates = best_of ?? choices;
  if (candidates < choices) refuse("best_of", `it is below n: ${candidates}`);
  if (candidates > choices && stream === true) refuse("best_of", "it cannot be streamed above n");
  const all = prompt.length * candidates;
  if (all > MAX_CHOICES) {
    const field = candidates > choices ? "best_of" : "n";
    refuse(field, `prompts and choices make more than ${MAX_CHOICES}: ${all}`);
  }
}).openapi("CompletionRequest");

/** A valid completion request. */
export type CompletionRequest = z.output<typeof completionRequestSchema>;
