/**
 * How long a client waits for an answer to begin.
 * @module
 */
import { ApiError, badRequest } from "./api_error.ts";

/** Header in which a client says so, in seconds; for the engine there is nothing like it in OpenAI's or vLLM's API. */
export const REQUEST_TIMEOUT_HEADER = "x-request-timeout";

/** What timers take. */
const MOST_SECONDS = (2 ** 31 - 1) / 1000;

/** Milliseconds that the header's value stands for; null without one. Throws ApiError 400. */
export function requestTimeout(header: string | undefined): number | null {
  if (header === undefined) return null;
  const seconds = /^\d+(\.\d+)?$/.test(header) ? Number(header) : NaN;
  if (seconds > 0 && seconds <= MOST_SECONDS) return 1000 * seconds;
  throw badRequest(
    `Cannot keep a deadline as X-Request-Timeout must be a number of seconds up to ${MOST_SECONDS}: ` +
      `current value is ${header.slice(0, 60)}`,
    "X-Request-Timeout",
  );
}

/** Ends a request that waits for too long. */
export class RequestDeadline implements Disposable {
  readonly #timeoutMs: number | null;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;
  #passed = false;

  /** Calls `end` so many milliseconds after `arrival` (`performance.now()`), unless disposed before; null: never. */
  constructor(
    timeoutMs: number | null,
    { arrival, end }: { readonly arrival: number; readonly end: () => void },
  ) {
    this.#timeoutMs = timeoutMs;
    if (timeoutMs === null) return;
    this.#timer = setTimeout(() => {
      this.#passed = true;
      end();
    }, Math.max(0, timeoutMs - (performance.now() - arrival)));
  }

  /** The answer to a request that was ended; null for one that was not. */
  get error(): ApiError | null {
    if (!this.#passed) return null;
    return new ApiError(
      `Cannot answer in time as the request still waits after the seconds of X-Request-Timeout: ` +
        `${this.#timeoutMs! / 1000}`,
      { status: 504, code: "deadline_exceeded" },
    );
  }

  /** The answer has begun, or nobody waits for it any more. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
