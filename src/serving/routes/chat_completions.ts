/**
 * `POST /v1/chat/completions`
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { ChatMessage } from "../../text/chat_message.ts";
import { badRequest } from "../api_error.ts";
import { ChatAnswer } from "../chat_answer.ts";
import { blamingText, fitContext, type Prompt } from "../prompts.ts";
import { toRequestOptions } from "../request_options.ts";
import { toSamplingParams } from "../sampling.ts";
import { type ChatRequest, chatRequestSchema } from "../schema/chat_request.ts";
import { generationErrors } from "../schema/error.ts";
import { checkModel, type ServerContext } from "../server_context.ts";
import { validate } from "../validation.ts";
import { type PreparedRequest, serveGeneration } from "./generation_route.ts";

const route = createRoute({
  method: "post",
  path: "/v1/chat/completions",
  summary: "Answer a conversation",
  request: { body: { content: { "application/json": { schema: chatRequestSchema } } } },
  responses: {
    200: {
      description: "The assistant's next message",
      content: {
        "application/json": {
          schema: z.looseObject({
            object: z.literal("chat.completion"),
            weight_version: z.string(),
          }),
        },
        "text/event-stream": { schema: z.string() },
      },
    },
    ...generationErrors,
  },
});

/** Adds the route. */
export function addChatCompletions(app: OpenAPIHono, context: ServerContext): void {
  app.openAPIRegistry.registerPath(route);
  app.post(route.path, (c) => serveGeneration(c, context, (body) => prepare(context, body)));
}

async function prepare(context: ServerContext, body: unknown): Promise<PreparedRequest> {
  const request = validate(chatRequestSchema, body);
  checkModel(context, request.model);
  const prompt = await render(context, request);
  const maxTokens = fitContext(context, [prompt], {
    requested: request.max_completion_tokens ?? request.max_tokens ?? null,
    fallback: Infinity,
    params: {
      prompt: "messages",
      maxTokens: typeof request.max_tokens === "number" ? "max_tokens" : "max_completion_tokens",
    },
  });
  return {
    prompts: [prompt],
    sampling: toSamplingParams(context, {
      ...request,
      maxTokens,
      logprobs: request.logprobs ? request.top_logprobs ?? 0 : null,
      promptLogprobs: null,
    }),
    options: toRequestOptions(request),
    stream: request.stream === true,
    session: request.prompt_cache_key ?? request.user ?? null,
    answer: new ChatAnswer(context, { request, prompt }),
  };
}

async function render(context: ServerContext, request: ChatRequest): Promise<Prompt> {
  const { text } = context;
  if (text === null) {
    throw badRequest(
      "Cannot render the messages as the model has no tokenizer: use /v1/completions with token ids",
      "messages",
    );
  }
  const continueFinalMessage = request.continue_final_message === true;
  return await blamingText("messages", () =>
    text.renderChat(request.messages.map(toChatMessage), {
      addGenerationPrompt: request.add_generation_prompt ?? !continueFinalMessage,
      continueFinalMessage,
      templateVariables: request.chat_template_kwargs ?? {},
    }));
}

/** Models are trained on `system`; `developer` is OpenAI's newer name for the same role. */
function toChatMessage(message: ChatRequest["messages"][number]): ChatMessage {
  const role = message.role === "developer" ? "system" : message.role;
  const name = "name" in message ? message.name : null;
  return { role, content: message.content, ...typeof name === "string" ? { name } : {} };
}
