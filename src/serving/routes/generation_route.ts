/**
 * What both generating routes do with a request.
 * @module
 */
import type { Context } from "hono";
import { Generation, type GenerationOptions } from "../generation.ts";
import { REQUEST_TIMEOUT_HEADER, requestTimeout } from "../request_deadline.ts";
import { readJsonBody } from "../request_body.ts";
import type { ServerContext } from "../server_context.ts";
import { sseResponse } from "../sse.ts";

/** A validated request: what to generate, and how to answer. */
export interface PreparedRequest
  extends Pick<GenerationOptions, "prompts" | "choices" | "sampling" | "options"> {
  /** Whether the answer is streamed. */
  readonly stream: boolean;
  /** What the body says of what belongs together; the header `X-Session-Id` says it better. */
  readonly session: string | null;
  /** Formats the answer. */
  readonly answer: {
    whole(generation: Generation): Promise<object>;
    events(generation: Generation): AsyncIterator<object, void>;
  };
}

/**
 * Admits a request, reads its body, generates, and answers. The place at the gate and the
 * generation are given up when the last byte of the answer has left, or the client has.
 */
export async function serveGeneration(
  c: Context,
  context: ServerContext,
  prepare: (body: unknown, requestId: string) => Promise<PreparedRequest>,
): Promise<Response> {
  const arrival = performance.now();
  using resources = new DisposableStack();
  const { requests } = context;
  const { raw } = c.req;
  resources.use(context.enter(raw));
  const requestId = requests.idOf(raw);
  const prepared = await prepare(await readJsonBody(raw, context.limits), requestId);
  const { prompts, choices, sampling, options, stream, answer } = prepared;
  const timeoutMs = requestTimeout(c.req.header(REQUEST_TIMEOUT_HEADER));
  const session = c.req.header("x-session-id") ?? prepared.session;
  const generation = resources.use(
    new Generation(context, {
      prompts,
      choices,
      sampling,
      options,
      session,
      arrival,
      timeoutMs,
      signal: c.req.raw.signal,
    }),
  );
  // Streams too: their headers can name the weights only when those are known.
  const headers = { "x-weft-weight-version": await generation.begin() };
  if (!stream) return c.json(await answer.whole(generation), 200, headers);
  resources.use(requests.hold(raw));
  return sseResponse(answer.events(generation), {
    headers,
    resources: resources.move(),
    stallTimeoutMs: context.limits.stallTimeoutMs,
    onError: (error) => context.onError(error, requestId),
  });
}
