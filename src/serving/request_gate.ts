/**
 * Admission of generation requests: a cap on how many are inside, and the drain before a stop.
 * @module
 */
import { ApiError } from "./api_error.ts";

/** Options of {@linkcode RequestGate}. */
export interface RequestGateOptions {
  /** Generation requests inside at most, those that still send their body included. Default 1024. */
  readonly maxQueuedRequests?: number;
}

/**
 * Counts the generation requests inside the server. {@linkcode listen} and
 * {@linkcode createServer} share one gate, so that a drain knows when the last answer has left.
 *
 * @example
 * ```ts
 * import { RequestGate } from "@weft/weft/server";
 * const gate = new RequestGate({ maxQueuedRequests: 256 });
 * {
 *   using _place = gate.enter();
 *   console.log(gate.active); // 1
 * }
 * console.log(gate.active); // 0
 * ```
 */
export class RequestGate {
  readonly #limit: number;
  readonly #cancel = new AbortController();
  #active = 0;
  #draining = false;
  #idle: PromiseWithResolvers<void> | null = null;

  /** Throws RangeError when the limit is not a positive count. */
  constructor(options: RequestGateOptions = {}) {
    const { maxQueuedRequests = 1024 } = options;
    if (!Number.isSafeInteger(maxQueuedRequests) || maxQueuedRequests < 1) {
      throw new RangeError(
        `Cannot limit the queue as maxQueuedRequests is not a positive count: ${maxQueuedRequests}`,
      );
    }
    this.#limit = maxQueuedRequests;
  }

  /** Requests inside. */
  get active(): number {
    return this.#active;
  }

  /** True once {@linkcode close} was called. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Whether as many are inside as may be. */
  get full(): boolean {
    return this.#active >= this.#limit;
  }

  /** Fires when the requests inside shall end at once. */
  get signal(): AbortSignal {
    return this.#cancel.signal;
  }

  /** Lets a request in until the returned place is disposed; throws ApiError (429 full, 503 draining). */
  enter(): Disposable {
    if (this.#draining) {
      throw new ApiError("Cannot accept the request as the server is draining", {
        status: 503,
        code: "draining",
        headers: { "retry-after": "1", "connection": "close" },
      });
    }
    if (this.full) {
      throw new ApiError(
        `Cannot accept the request as too many are queued: ${this.#active} of ${this.#limit}`,
        { status: 429, code: "queue_full", headers: { "retry-after": "1" } },
      );
    }
    this.#active++;
    let inside = true;
    return {
      [Symbol.dispose]: () => {
        if (!inside) return;
        inside = false;
        if (--this.#active === 0) this.#idle?.resolve();
      },
    };
  }

  /** Lets nobody in any more; resolves when the last request has left. */
  close(): Promise<void> {
    this.#draining = true;
    if (this.#active === 0) return Promise.resolve();
    this.#idle ??= Promise.withResolvers<void>();
    return this.#idle.promise;
  }

  /** Makes the requests inside end at once. */
  cancelAll(): void {
    this.#cancel.abort();
  }
}
