/**
 * Server-sent events.
 * @module
 */
import { type ApiErrorBody, internalError, toApiError } from "./api_error.ts";

/** Options of {@linkcode sseResponse}. */
export interface SseOptions {
  /** Headers of the answer beside its own. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Disposed when the answer has ended, for whatever reason. */
  readonly resources: Disposable;
  /** The answer is cut off when the client leaves an event unread for so long, in milliseconds. */
  readonly stallTimeoutMs: number;
  /** Receives errors that clients do not see. */
  readonly onError: (error: unknown) => void;
}

/**
 * Streams `events` as JSON, one server-sent event each, then `[DONE]`. An error becomes an event
 * `{"error": ...}` and ends the stream without `[DONE]`. An event is fetched when the client has
 * taken the one before: a slow reader holds back the stream, not the memory.
 */
export function sseResponse(events: AsyncIterator<unknown, void>, options: SseOptions): Response {
  const encoder = new TextEncoder();
  let ended = false;
  let stall: ReturnType<typeof setTimeout> | undefined;
  const end = (): void => {
    ended = true;
    clearTimeout(stall);
    options.resources[Symbol.dispose]();
  };
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      clearTimeout(stall);
      const { data, last } = await nextEvent(events, options.onError);
      if (ended) return;
      controller.enqueue(encoder.encode(`data: ${data}\n\n`));
      if (last) {
        controller.close();
        end();
        return;
      }
      stall = setTimeout(() => {
        end();
        controller.error(new Error("Cannot go on streaming as the client has stopped reading"));
      }, options.stallTimeoutMs);
    },
    cancel() {
      if (!ended) end();
    },
  }, { highWaterMark: 0 });
  return new Response(body, {
    headers: {
      ...options.headers,
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      // Reverse proxies would otherwise collect events before they pass them on.
      "x-accel-buffering": "no",
    },
  });
}

async function nextEvent(
  events: AsyncIterator<unknown, void>,
  onError: (error: unknown) => void,
): Promise<{ readonly data: string; readonly last: boolean }> {
  try {
    const { done, value } = await events.next();
    return done ? { data: "[DONE]", last: true } : { data: JSON.stringify(value), last: false };
  } catch (error) {
    return { data: JSON.stringify(errorBody(error, onError)), last: true };
  }
}

function errorBody(error: unknown, onError: (error: unknown) => void): ApiErrorBody {
  const known = toApiError(error);
  if (known === null) onError(error);
  return (known ?? internalError()).body;
}
