/**
 * The body of `POST /v1/chat/completions`.
 * @module
 */
import { z } from "@hono/zod-openapi";
import { MAX_CONTENT_PARTS, MAX_LOGPROBS, MAX_MESSAGES } from "./limits.ts";
import { neutral } from "./neutral.ts";
import { informationalFields, neutralFields, samplingFields } from "./sampling_fields.ts";
import { refineStreamOptions } from "./stream_options.ts";
import { templateKwargsSchema } from "./template_kwargs.ts";

const text = z.string().refine((value) => value.isWellFormed(), {
  error: "it holds half of a surrogate pair",
});

const content = z.union([
  text,
  z.array(z.strictObject({ type: z.literal("text"), text })).min(1).max(MAX_CONTENT_PARTS),
], { error: "it must be a text or a list of text parts" });

const message = z.discriminatedUnion("role", [
  z.strictObject({
    role: z.enum(["system", "developer", "user"]),
    content,
    name: z.string().nullish(),
  }),
  z.strictObject({
    role: z.literal("assistant"),
    content,
    name: z.string().nullish(),
    refusal: neutral(),
    audio: neutral(),
    annotations: neutral([]),
    tool_calls: neutral([]),
    function_call: neutral(),
  }),
  z.strictObject({ role: z.literal("tool"), content, tool_call_id: z.string() }),
]);

/** A conversation. */
export const messagesSchema = z.array(message).min(1).max(MAX_MESSAGES);

/**
 * What a conversation's continuation depends on, refused where it contradicts itself: the model cannot both begin a
 * message and go on with one.
 */
export function refineContinuation(
  request: {
    readonly messages: z.output<typeof messagesSchema>;
    readonly add_generation_prompt?: boolean | null;
    readonly continue_final_message?: boolean | null;
  },
  refuse: (field: string, message: string) => void,
): void {
  if (request.continue_final_message !== true) return;
  if (request.add_generation_prompt === true) {
    refuse("continue_final_message", "add_generation_prompt is true too");
  }
  if (request.messages.at(-1)?.role !== "assistant") {
    refuse("continue_final_message", "the last message is not the assistant's");
  }
}

/** Validates a chat completion request. */
export const chatRequestSchema = z.strictObject({
  ...samplingFields,
  ...informationalFields,
  ...neutralFields,
  messages: messagesSchema,
  max_tokens: z.int32().min(1).nullish(),
  max_completion_tokens: z.int32().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish(),
  add_generation_prompt: z.boolean().nullish(),
  continue_final_message: z.boolean().nullish(),
  chat_template_kwargs: templateKwargsSchema.nullish(),
  chat_template: neutral(),
  add_special_tokens: neutral(false),
  echo: z.boolean().nullish().openapi({
    description: "Begin the answer with the last message, where that is the assistant's.",
  }),
  tools: neutral([]),
  tool_choice: neutral("none", "auto"),
  parallel_tool_calls: neutral(true, false),
  functions: neutral([]),
  function_call: neutral("none", "auto"),
  documents: neutral([]),
  store: neutral(false),
  service_tier: neutral("auto", "default"),
  modalities: neutral(["text"]),
  audio: neutral(),
  prediction: neutral(),
  reasoning_effort: neutral(),
  verbosity: neutral("medium"),
  web_search_options: neutral(),
  prompt_cache_retention: neutral(),
  mm_processor_kwargs: neutral(),
}).superRefine((request, context) => {
  refineStreamOptions(request, context);
  const refuse = (field: string, message: string): void =>
    context.addIssue({ code: "custom", path: [field], message });
  if (isSet(request.top_logprobs) && request.logprobs !== true) {
    refuse("top_logprobs", "it needs logprobs to be true");
  }
  if (isSet(request.max_tokens) && isSet(request.max_completion_tokens)) {
    refuse("max_tokens", "max_completion_tokens is given too");
  }
  refineContinuation(request, refuse);
}).openapi("ChatCompletionRequest");

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** A valid chat completion request. */
export type ChatRequest = z.output<typeof chatRequestSchema>;
