/**
 * `POST /tokenize` and `POST /detokenize`
 * @module
 */
import { createRoute, type OpenAPIHono, type z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { badRequest } from "../api_error.ts";
import { renderChatPrompt } from "../chat_prompt.ts";
import { blamingText, resolvePrompts } from "../prompts.ts";
import { readJsonBody } from "../request_body.ts";
import { generationErrors } from "../schema/error.ts";
import {
  detokenizeRequestSchema,
  detokenizeResponseSchema,
  tokenizeRequestSchema,
  tokenizeResponseSchema,
  tokenizeSchemaOf,
} from "../schema/tokenize_request.ts";
import { checkModel, type ServerContext } from "../server_context.ts";
import type { TextService } from "../text_service.ts";
import { validate } from "../validation.ts";

/** Tokens that are named in one go: those of running generations come between. */
const NAMED_AT_ONCE = 1024;

const tokenizeRoute = createRoute({
  method: "post",
  path: "/tokenize",
  summary: "Turn a text or a conversation into tokens",
  request: { body: { content: { "application/json": { schema: tokenizeRequestSchema } } } },
  responses: {
    200: {
      description: "The tokens",
      content: { "application/json": { schema: tokenizeResponseSchema } },
    },
    ...generationErrors,
  },
});

const detokenizeRoute = createRoute({
  method: "post",
  path: "/detokenize",
  summary: "Turn tokens into text, special ones included",
  request: { body: { content: { "application/json": { schema: detokenizeRequestSchema } } } },
  responses: {
    200: {
      description: "The text",
      content: { "application/json": { schema: detokenizeResponseSchema } },
    },
    ...generationErrors,
  },
});

/** Adds the routes. They take a place at the gate, as their work is that of a prompt. */
export function addTokenize(app: OpenAPIHono, context: ServerContext): void {
  add(tokenizeRoute, tokenize);
  add(detokenizeRoute, detokenize);

  function add(
    route: typeof tokenizeRoute | typeof detokenizeRoute,
    answer: (context: ServerContext, body: unknown) => Promise<object>,
  ): void {
    app.openAPIRegistry.registerPath(route);
    app.post(route.path, async (c: Context) => {
      using _place = context.enter(c.req.raw);
      return c.json(await answer(context, await readJsonBody(c.req.raw, context.limits)));
    });
  }
}

async function tokenize(
  context: ServerContext,
  body: unknown,
): Promise<z.infer<typeof tokenizeResponseSchema>> {
  const request = validate(tokenizeSchemaOf(body), body);
  checkModel(context, request.model);
  const text = tokenizerOf(context);
  const { tokenIds } = "messages" in request
    ? await renderChatPrompt(context, request)
    : (await resolvePrompts(context, [request.prompt], {
      addSpecialTokens: request.add_special_tokens ?? true,
    }))[0];
  return {
    count: tokenIds.length,
    max_model_len: context.router.info.maxModelLen,
    tokens: [...tokenIds],
    token_strs: request.return_token_strs === true ? await spell(text, tokenIds) : null,
  };
}

async function detokenize(
  context: ServerContext,
  body: unknown,
): Promise<z.infer<typeof detokenizeResponseSchema>> {
  const { model, tokens } = validate(detokenizeRequestSchema, body);
  checkModel(context, model);
  const text = tokenizerOf(context);
  const { vocabSize } = context.router.info;
  const outside = tokens.find((id) => id >= vocabSize);
  if (outside !== undefined) {
    throw badRequest(
      `Cannot decode token ${outside} as the vocabulary is smaller: ${vocabSize}`,
      "tokens",
    );
  }
  const decode = () => text.decode(tokens, { skipSpecialTokens: false });
  return { prompt: await blamingText("tokens", decode) };
}

function tokenizerOf({ text }: ServerContext): TextService {
  if (text !== null) return text;
  throw badRequest("Cannot tokenize as the model has no tokenizer", null, "no_tokenizer");
}

async function spell(text: TextService, tokenIds: readonly number[]): Promise<string[]> {
  const ids = [...new Set(tokenIds)];
  const spelled = new Map<number, string>();
  for (let start = 0; start < ids.length; start += NAMED_AT_ONCE) {
    const some = ids.slice(start, start + NAMED_AT_ONCE);
    const texts = await text.tokenTexts(some);
    some.forEach((id, index) => spelled.set(id, texts[index].token));
  }
  return tokenIds.map((id) => spelled.get(id)!);
}
