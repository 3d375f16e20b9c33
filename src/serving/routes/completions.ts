/**
 * `POST /v1/completions`
 * @module
 */
import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { CompletionAnswer } from "../completion_answer.ts";
import { fitContext, resolvePrompts, truncatePrompt } from "../prompts.ts";
import { toRequestOptions } from "../request_options.ts";
import { toSamplingParams } from "../sampling.ts";
import { completionRequestSchema } from "../schema/completion_request.ts";
import { completionChunkSchema, completionSchema } from "../schema/completion_response.ts";
import { generationErrors } from "../schema/error.ts";
import { checkModel, type ServerContext } from "../server_context.ts";
import { validate } from "../validation.ts";
import { type PreparedRequest, serveGeneration } from "./generation_route.ts";

/** OpenAI's default. */
const DEFAULT_MAX_TOKENS = 16;

const route = createRoute({
  method: "post",
  path: "/v1/completions",
  summary: "Continue prompts",
  request: { body: { content: { "application/json": { schema: completionRequestSchema } } } },
  responses: {
    200: {
      description: "`n` choices per prompt; in a stream one event for each step, then `[DONE]`",
      content: {
        "application/json": { schema: completionSchema },
        "text/event-stream": { schema: completionChunkSchema },
      },
    },
    ...generationErrors,
  },
});

/** Adds the route. */
export function addCompletions(app: OpenAPIHono, context: ServerContext): void {
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
  const request = validate(completionRequestSchema, body);
  checkModel(context, request.model);
  const resolved = await resolvePrompts(context, request.prompt, {
    addSpecialTokens: request.add_special_tokens ?? true,
  });
  const prompts = resolved.map((prompt) => truncatePrompt(prompt, request.truncate_prompt_tokens));
  const candidates = request.best_of ?? request.n ?? 1;
  // The best are those whose tokens are most likely.
  const logprobs = request.logprobs ?? (candidates > (request.n ?? 1) ? 0 : null);
  const maxTokens = fitContext(context, prompts, {
    requested: request.max_tokens ?? null,
    fallback: DEFAULT_MAX_TOKENS,
    answer: { choices: prompts.length * candidates, logprobs },
    params: { prompt: "prompt", maxTokens: "max_tokens" },
  });
  const ofPrompt = [request.echo ? request.logprobs : null, request.prompt_logprobs]
    .filter((count) => count !== null && count !== undefined);
  return {
    prompts,
    choices: candidates,
    sampling: toSamplingParams(context, {
      ...request,
      maxTokens,
      logprobs,
      // Without new tokens there is only the prompt to compute, and the engine wants to know why.
      promptLogprobs: ofPrompt.length > 0 ? Math.max(...ofPrompt) : maxTokens === 0 ? 0 : null,
    }),
    options: toRequestOptions(request),
    stream: request.stream === true,
    session: request.prompt_cache_key ?? request.user ?? null,
    answer: new CompletionAnswer(context, { request, prompts, id }),
  };
}
