/**
 * The bodies of `POST /tokenize` and `POST /detokenize`.
 * @module
 */
import { z } from "@hono/zod-openapi";
import { messagesSchema, refineContinuation } from "./chat_request.ts";
import { neutral } from "./neutral.ts";
import { templateKwargsSchema } from "./template_kwargs.ts";

/** Fields that both kinds of request have. */
const common = {
  model: z.string().nullish(),
  return_token_strs: z.boolean().nullish(),
} as const;

const textSchema = z.strictObject({
  ...common,
  prompt: z.string().refine((value) => value.isWellFormed(), {
    error: "it holds half of a surrogate pair",
  }),
  add_special_tokens: z.boolean().nullish(),
}).openapi("TokenizeTextRequest");

const chatSchema = z.strictObject({
  ...common,
  messages: messagesSchema,
  add_generation_prompt: z.boolean().nullish(),
  continue_final_message: z.boolean().nullish(),
  chat_template_kwargs: templateKwargsSchema.nullish(),
  add_special_tokens: neutral(false),
  chat_template: neutral(),
  mm_processor_kwargs: neutral(),
  tools: neutral([]),
}).superRefine((request, context) =>
  refineContinuation(
    request,
    (field, message) => context.addIssue({ code: "custom", path: [field], message }),
  )
).openapi("TokenizeChatRequest");

/** Validates a request to tokenize: a text, or a conversation as the model's template writes it. */
export const tokenizeRequestSchema = z.union([textSchema, chatSchema]).openapi("TokenizeRequest");

/** The schema by which a body that was sent is judged: its errors name fields of one kind only. */
export function tokenizeSchemaOf(body: unknown): typeof textSchema | typeof chatSchema {
  return typeof body === "object" && body !== null && "messages" in body ? chatSchema : textSchema;
}

/** Validates a request to turn tokens into text. */
export const detokenizeRequestSchema = z.strictObject({
  model: z.string().nullish(),
  tokens: z.array(z.int32().min(0)),
}).openapi("DetokenizeRequest");

/** What {@linkcode tokenizeRequestSchema} is answered with. */
export const tokenizeResponseSchema = z.object({
  count: z.int(),
  max_model_len: z.int(),
  tokens: z.array(z.int()),
  token_strs: z.array(z.string()).nullable().openapi({
    description: "How the vocabulary spells each token, where it was asked for.",
  }),
}).openapi("TokenizeResponse");

/** What {@linkcode detokenizeRequestSchema} is answered with. */
export const detokenizeResponseSchema = z.object({ prompt: z.string() })
  .openapi("DetokenizeResponse");
