/**
 * Passes requests on to replicas and their answers back.
 * @module
 */
import { AttemptError } from "../../routing/attempt.ts";
import type { CoarseTimer, CoarseTimers } from "../../routing/coarse_timers.ts";
import { NoReplicaError } from "../../routing/errors.ts";
import type { Lease } from "../../routing/lease.ts";
import type { ReplicaPool } from "../../routing/replica_pool.ts";
import type { RetryBudget } from "../../routing/retry_budget.ts";
import { type RouteObserver, routeRequest } from "../../routing/route_request.ts";
import { LONGEST_TIMER_MS } from "../../routing/within.ts";
import { ApiError } from "../api_error.ts";
import { type ForwardedRequest, pairsOf } from "./forwarded_request.ts";
import { ClientGone } from "./guest.ts";
import { type HttpReplica, lost } from "./http_replica.ts";

/** Deadlines of a request, in milliseconds. */
export interface ForwardDeadlines {
  /** Wait for a replica with room. */
  readonly queueMs: number;
  /** First byte of an answer that is streamed. */
  readonly firstByteMs: number;
  /** An answer that comes in one piece. */
  readonly wholeMs: number;
  /** Silence inside a stream; and how long a client may leave a piece of it unread. */
  readonly stallMs: number;
}

/**
 * Nothing is given up for being slow before it has begun: a request may wait for long behind others, and probes
 * tell a replica that is stuck.
 */
export const PATIENT_DEADLINES: Omit<ForwardDeadlines, "stallMs"> = {
  queueMs: LONGEST_TIMER_MS,
  firstByteMs: LONGEST_TIMER_MS,
  wholeMs: LONGEST_TIMER_MS,
};

/** What {@linkcode forward} needs. */
export interface Forwarding {
  /** Chooses replicas. */
  readonly pool: ReplicaPool<HttpReplica>;
  /** Pays for retries. */
  readonly budget: RetryBudget;
  /** How long things may take. */
  readonly deadlines: ForwardDeadlines;
  /** See {@linkcode RouteOptions.hedgeAfterMs}. */
  readonly hedgeAfterMs: number | null;
  /** Is told what requests cost beside their first attempt. */
  readonly observer: RouteObserver;
  /** Times requests. */
  readonly timers: CoarseTimers;
  /** Is told how long an answer took to begin, in seconds, and who gave it. */
  readonly onFirstByte: (id: string, seconds: number) => void;
}

/** Statuses of a replica that another may do better than. */
const RETRIED = new Set([429, 500, 502, 503, 504]);

/** Headers of replicas that clients get to see. */
const RETURNED_HEADERS = [
  "allow",
  "cache-control",
  "content-security-policy",
  "content-type",
  "openai-processing-ms",
  "openai-version",
  "retry-after",
  "x-accel-buffering",
  "x-request-id",
  "x-weft-weight-version",
] as const;

/** An answer of which at least the first byte has come. */
interface Begun {
  readonly response: Response;
  /** The whole body, when it came in one piece. */
  readonly whole: Uint8Array<ArrayBuffer> | null;
  readonly first: Uint8Array | null;
  readonly rest: ReadableStreamDefaultReader<Uint8Array> | null;
}

/**
 * Passes a request on and answers with what a replica says, whose name the header `X-Weft-Replica` tells. Until the
 * first byte of a stream, and until the last one of any other answer, another replica may take over; a stream
 * that breaks off later ends with an error event and without `[DONE]`.
 *
 * `resources` are disposed when the answer has ended, for whatever reason. Throws ApiError (429, 502, 503, 504)
 * and RefusedError.
 */
export async function forward(
  request: ForwardedRequest,
  forwarding: Forwarding,
  { signal, resources }: { readonly signal: AbortSignal; readonly resources: Disposable },
): Promise<Response> {
  const { pool, budget, deadlines, hedgeAfterMs, observer, timers, onFirstByte } = forwarding;
  const { stream } = request;
  const started = performance.now();
  try {
    const { lease, result, abort } = await routeRequest({
      pool,
      budget,
      request,
      signal,
      hedgeAfterMs,
      observer,
      timers,
      queueDeadlineMs: deadlines.queueMs,
      firstByteTimeoutMs: stream ? deadlines.firstByteMs : deadlines.wholeMs,
      attempt: (lease, attempt) => begin(lease, request, attempt),
    });
    onFirstByte(lease.id, (performance.now() - started) / 1000);
    return answer(lease, result, { abort, signal, timers, stallMs: deadlines.stallMs, resources });
  } catch (error) {
    resources[Symbol.dispose]();
    throw signal.aborted ? cancelled(signal.reason) : toApiError(error);
  }
}

/** The server is stopping, or the client has gone: then nobody reads this, and it must not count as a failure. */
function cancelled(reason: unknown): ApiError {
  return new ApiError("Cannot finish the request as it was cancelled", {
    status: reason instanceof ClientGone ? 499 : 503,
    code: "cancelled",
  });
}

async function begin(
  lease: Lease<HttpReplica>,
  request: ForwardedRequest,
  signal: AbortSignal,
): Promise<Begun> {
  const { target } = lease;
  const { method, path, body } = request;
  const response = await target.send({ method, path, headers: request.headers, body, signal });
  try {
    if (RETRIED.has(response.status)) throw await refusal(lease.id, response);
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
    if (!isStream) {
      const whole = await response.bytes();
      lease.received();
      return { response, whole, first: null, rest: null };
    }
    const rest = response.body!.getReader();
    const { done, value } = await rest.read();
    lease.received();
    return { response, whole: null, first: done ? new Uint8Array() : value, rest };
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof AttemptError ? error : lost(target.url, error);
  }
}

/** The replica's own words, should nobody else serve the request. */
async function refusal(id: string, response: Response): Promise<AttemptError> {
  const { status } = response;
  const body = await response.bytes();
  const headers = returnedHeaders(response, id);
  return new AttemptError(`Cannot get an answer from ${id} as it says ${status}`, {
    failure: status === 429 ? "full" : "failed",
    response: new Response(body, { status, headers }),
  });
}

interface AnswerOptions {
  /** Ends the replica's stream. */
  readonly abort: (reason: unknown) => void;
  /** Fires when nobody wants it any more. */
  readonly signal: AbortSignal;
  readonly timers: CoarseTimers;
  readonly stallMs: number;
  /** Disposed with the end of the answer. */
  readonly resources: Disposable;
}

function answer(lease: Lease<HttpReplica>, begun: Begun, options: AnswerOptions): Response {
  const { response: { status }, whole, first, rest } = begun;
  const headers = returnedHeaders(begun.response, lease.id);
  if (rest === null) {
    lease.end("served");
    options.resources[Symbol.dispose]();
    return new Response(whole, { status, headers });
  }
  return new Response(passOn(lease, { first: first!, rest }, options), { status, headers });
}

function passOn(
  lease: Lease<HttpReplica>,
  { first, rest }: { first: Uint8Array; rest: ReadableStreamDefaultReader<Uint8Array> },
  { abort, signal, timers, stallMs, resources }: AnswerOptions,
): ReadableStream<Uint8Array> {
  let unread: CoarseTimer | null = null;
  const end = (outcome: "served" | "failed" | "cancelled"): void => {
    unread?.clear();
    lease.end(outcome);
    resources[Symbol.dispose]();
  };
  const give = (controller: ReadableStreamDefaultController, bytes: Uint8Array): void => {
    controller.enqueue(bytes);
    // A client that left its answer unread would otherwise keep its replica from ever being drained.
    unread = timers.set(() => {
      const gone = new Error("Cannot go on streaming as the client has stopped reading");
      end("cancelled");
      abort(gone);
      controller.error(gone);
    }, stallMs);
  };
  return new ReadableStream<Uint8Array>({
    start(controller) {
      if (first.length > 0) give(controller, first);
    },
    async pull(controller) {
      unread?.clear();
      const silent = new Error(`nothing came for ${stallMs} ms`);
      const stall = timers.set(() => abort(silent), stallMs);
      try {
        const { done, value } = await rest.read();
        lease.received();
        if (!done) return give(controller, value);
        end("served");
      } catch (error) {
        // A client that has gone, or a server that stops, is not the replica's fault.
        end(signal.aborted ? "cancelled" : "failed");
        controller.enqueue(errorEvent(lease.target.url, error));
      } finally {
        stall.clear();
      }
      controller.close();
    },
    cancel(reason) {
      end("cancelled");
      abort(reason);
    },
  }, { highWaterMark: 0 });
}

/** What a client sees when a stream breaks off: never something that looks complete. */
function errorEvent(url: string, cause: unknown): Uint8Array {
  const { message } = lost(url, cause);
  const { body } = new ApiError(message, { status: 502, code: "replica_lost" });
  // A line break first: what came last may be half a line.
  return new TextEncoder().encode(`\n\ndata: ${JSON.stringify(body)}\n\n`);
}

function returnedHeaders(response: Response, id: string): [string, string][] {
  return [["x-weft-replica", id], ...pairsOf(response.headers, RETURNED_HEADERS)];
}

function toApiError(error: unknown): unknown {
  if (error instanceof NoReplicaError) {
    const [status, code] = error.reason === "full" ? [429, "queue_full"] : [503, "no_replica"];
    return new ApiError(error.message, { status, code, headers: { "retry-after": "1" } });
  }
  if (!(error instanceof AttemptError)) return error;
  if (error.response !== null) return new RefusedError(error.response);
  const status = error.failure === "lost" ? 502 : 504;
  return new ApiError(error.message, { status, code: "replica_failed" });
}

/** A replica's refusal, to be answered as it is. */
export class RefusedError extends Error {
  /** What the replica said. */
  readonly response: Response;
  /** Carries the replica's answer. */
  constructor(response: Response) {
    super(`Cannot serve the request as the replica says ${response.status}`);
    this.name = "RefusedError";
    this.response = response;
  }
}
