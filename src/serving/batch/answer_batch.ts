/**
 * Answers the requests of a batch as an HTTP server would.
 * @module
 */
import type { BatchRequest } from "./batch_input.ts";
import type { BatchOutputLine } from "./batch_output.ts";
import { mapInWindow, type ResultOrder } from "./map_in_window.ts";

/** What answers the requests of a batch: an app, or a router over servers. */
export interface BatchServer {
  /** Answers one request. */
  readonly fetch: (request: Request) => Response | Promise<Response>;
  /** Why nobody can answer now; null while somebody can. */
  readonly failure: () => string | null;
  /** Requests that it is to have at once. */
  readonly concurrency: number;
}

/** An answer, and what it took. */
export interface BatchAnswer {
  /** The line of the output. */
  readonly line: BatchOutputLine;
  /** Tokens of its prompts. */
  readonly promptTokens: number;
  /** Tokens that were generated for it. */
  readonly generationTokens: number;
}

/** Options of {@linkcode answerBatch}. */
export interface AnswerBatchOptions {
  /** Who answers. */
  readonly server: BatchServer;
  /** Order of the answers. */
  readonly order: ResultOrder;
  /** Time in milliseconds that the batch waits for somebody who can answer. */
  readonly patienceMs: number;
  /** Ends the batch; requests under way are cancelled. */
  readonly signal: AbortSignal;
  /** Pause in milliseconds before a request is sent again; it doubles each time. Default 250. */
  readonly pauseMs?: number;
}

/** Answers that may wait for an earlier one, in the order of the input. */
const MAX_HELD = 1024;

/** Statuses that may change when a request is sent again: the load was too high, or a server died. */
const RETRIED = new Set([429, 500, 502, 503, 504]);

/** Times that a request is sent again. */
const RETRIES = 5;

/** Default of {@linkcode AnswerBatchOptions.pauseMs}, and the longest pause. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 30_000;

/**
 * The answers to requests. One that fails for itself has an answer that says so; one that a server failed is sent
 * again a few times. Throws Error when nobody has been able to answer for `patienceMs`, what the input throws, and
 * the signal's reason.
 */
export function answerBatch(
  requests: AsyncIterable<BatchRequest>,
  options: AnswerBatchOptions,
): AsyncGenerator<BatchAnswer, void, void> {
  const { server: { concurrency }, order, signal } = options;
  const window = concurrency + MAX_HELD;
  return mapInWindow(
    requests,
    (request, { signal }) => answer(request, { ...options, signal }),
    { concurrency, window, order, signal },
  );
}

async function answer(request: BatchRequest, options: AnswerBatchOptions): Promise<BatchAnswer> {
  const { server, signal, pauseMs = FIRST_PAUSE_MS } = options;
  const body = JSON.stringify(request.body);
  for (let attempt = 0;; attempt++) {
    const response = await server.fetch(
      new Request(`http://batch${request.url}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
        signal,
      }),
    );
    const text = await response.text();
    signal.throwIfAborted();
    if (!RETRIED.has(response.status)) return toAnswer(request, response, text);
    if (server.failure() !== null) {
      await recovery(options);
      // What nobody got to see has not been tried.
      if (parse(text)?.error?.code === "no_replica") attempt--;
    } else if (attempt >= RETRIES) {
      return toAnswer(request, response, text);
    } else {
      await pause(Math.max(pauseMs * 2 ** attempt, askedPauseMs(response)), signal);
    }
  }
}

/** Resolves when somebody can answer again. */
async function recovery(
  { server, patienceMs, signal, pauseMs = FIRST_PAUSE_MS }: AnswerBatchOptions,
): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (let failure = server.failure(); failure !== null; failure = server.failure()) {
    if (performance.now() >= deadline) {
      throw new Error(`Cannot go on with the batch as nobody is left to answer: ${failure}`);
    }
    await pause(pauseMs, signal);
  }
}

/** What the server asks for. */
function askedPauseMs({ headers }: Response): number {
  const seconds = Number(headers.get("retry-after"));
  return seconds > 0 ? Math.min(LONGEST_PAUSE_MS, 1000 * seconds) : 0;
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => resolve();
  const timer = setTimeout(done, milliseconds);
  signal.addEventListener("abort", done, { once: true });
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", done);
  signal.throwIfAborted();
}

/** What is read of an answer's body. */
interface KnownFields {
  readonly usage?: { readonly prompt_tokens?: unknown; readonly completion_tokens?: unknown };
  readonly error?: { readonly code?: unknown; readonly type?: unknown; readonly message?: unknown };
}

function toAnswer(request: BatchRequest, response: Response, text: string): BatchAnswer {
  const { status, ok } = response;
  const body = parse(text);
  const line: BatchOutputLine = {
    id: `batch_req_${crypto.randomUUID()}`,
    custom_id: request.customId,
    response: {
      status_code: status,
      request_id: response.headers.get("x-request-id") ?? crypto.randomUUID(),
      body: body ?? text,
    },
    error: ok && body !== null ? null : {
      code: String(body?.error?.code ?? body?.error?.type ?? `status_${status}`),
      message: String(body?.error?.message ?? text.slice(0, 1000)),
    },
  };
  const tokens = (value: unknown): number => typeof value === "number" ? value : 0;
  return {
    line,
    promptTokens: tokens(body?.usage?.prompt_tokens),
    generationTokens: tokens(body?.usage?.completion_tokens),
  };
}

/** Null for what is no JSON object. */
function parse(text: string): KnownFields | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : null;
  } catch {
    return null;
  }
}
