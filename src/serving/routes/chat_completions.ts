/**
 * `POST /v1/chat/completions`
 * @module
 */
import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { ChatAnswer } from "../chat_answer.ts";
import { renderChatPrompt } from "../chat_prompt.ts";
import { fitContext, truncatePrompt } from "../prompts.ts";
import { toRequestOptions } from "../request_options.ts";
import { toSamplingParams } from "../sampling.ts";
import { chatRequestSchema } from "../schema/chat_request.ts";
import { chatChunkSchema, chatCompletionSchema } from "../schema/chat_response.ts";
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
      description:
        "The assistant's next message; in a stream one event for each step, then `[DONE]`",
      content: {
        "application/json": { schema: chatCompletionSchema },
        "text/event-stream": { schema: chatChunkSchema },
      },
    },
    ...generationErrors,
  },
});

/** Adds the route. */
export function addChatCompletions(app: OpenAPIHono, context: ServerContext): void {
  app.openAPIRegistry.registerPath(route);
  app.post(
    route.path,
    (c) => serveGeneration(c, context, (body, id) => prepare(context, body, id)),
  );
}

async function prepare(
  context: ServerContext,
  body: unknown,
  id: string,
): Promise<PreparedRequest> {
  const request = validate(chatRequestSchema, body);
  checkModel(context, request.model);
  const prompt = truncatePrompt(
    await renderChatPrompt(context, request),
    request.truncate_prompt_tokens,
  );
  const choices = request.n ?? 1;
  const logprobs = request.logprobs ? request.top_logprobs ?? 0 : null;
  const maxTokens = fitContext(context, [prompt], {
    requested: request.max_completion_tokens ?? request.max_tokens ?? null,
    fallback: Infinity,
    answer: { choices, logprobs },
    params: {
      prompt: "messages",
      maxTokens: typeof request.max_tokens === "number" ? "max_tokens" : "max_completion_tokens",
    },
  });
  return {
    prompts: [prompt],
    choices,
    sampling: toSamplingParams(context, {
      ...request,
      maxTokens,
      logprobs,
      promptLogprobs: request.prompt_logprobs ?? null,
    }),
    options: toRequestOptions(request),
    stream: request.stream === true,
    session: request.prompt_cache_key ?? request.user ?? null,
    answer: new ChatAnswer(context, { request, prompt, id }),
  };
}
