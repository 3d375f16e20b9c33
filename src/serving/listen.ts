/**
 * Serves an app over HTTP and stops gracefully.
 * @module
 */
import type { RequestGate } from "./request_gate.ts";

/** Options of {@linkcode listen}. */
export interface ListenOptions {
  /** Answers requests: `app.fetch` of {@linkcode createServer}. */
  readonly fetch: (request: Request) => Response | Promise<Response>;
  /** The gate given to {@linkcode createServer}. */
  readonly gate: RequestGate;
  /** Address to bind. Default `127.0.0.1`: this machine only. */
  readonly host?: string;
  /** Port; 0 takes a free one. Default 8000. */
  readonly port?: number;
}

/** Time for the last answers to leave, and for clients to take them, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1000;

/**
 * Binds and serves until {@linkcode HttpListener.shutdown}. Deno's server has no timeout for
 * headers or idle connections: put a proxy in front where clients are not trusted.
 *
 * Throws Deno.errors.AddrInUse when the port is taken.
 */
export function listen(options: ListenOptions): HttpListener {
  return new HttpListener(options);
}

/** A server that accepts connections. Disposing it stops without waiting for requests. */
export class HttpListener implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #abort = new AbortController();
  readonly #gate: RequestGate;
  readonly #inFlight = new Set<Promise<void>>();
  #stopped: Promise<void> | null = null;

  /** Binds and serves; {@linkcode listen} is the same. */
  constructor(options: ListenOptions) {
    this.#gate = options.gate;
    this.#server = Deno.serve({
      hostname: options.host ?? "127.0.0.1",
      port: options.port ?? 8000,
      signal: this.#abort.signal,
      onListen: () => {},
    }, (request, info) => {
      this.#track(info.completed);
      return options.fetch(request);
    });
  }

  /** Host that is bound. */
  get host(): string {
    return this.#server.addr.hostname;
  }

  /** Port that is bound. */
  get port(): number {
    return this.#server.addr.port;
  }

  /** Address for clients, such as `http://127.0.0.1:8000`. */
  get url(): string {
    const { host } = this;
    return `http://${host.includes(":") ? `[${host}]` : host}:${this.port}`;
  }

  /** Resolves when the server has stopped. */
  get finished(): Promise<void> {
    return this.#server.finished;
  }

  /**
   * Drains and stops. New generation requests get 503 and `/health` says `draining`, while those
   * inside go on for `graceMs` milliseconds at most (then they are cancelled: streams end with an
   * error event). Resolves when every connection is closed. A second call gives the same promise.
   */
  shutdown(graceMs: number): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  /** Cancels what is inside and stops. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown(0);
  }

  #track(completed: Promise<void>): void {
    const leave = (): void => void this.#inFlight.delete(completed);
    this.#inFlight.add(completed);
    completed.then(leave, leave);
  }

  async #stop(graceMs: number): Promise<void> {
    await within(this.#gate.close(), graceMs);
    this.#gate.cancelAll();
    // Either ending excludes the other: Deno fails when a server that shuts down is aborted.
    if (await within(Promise.allSettled(this.#inFlight), CLOSE_TIMEOUT_MS)) {
      await this.#server.shutdown();
    } else {
      this.#abort.abort();
    }
    await this.#server.finished;
  }
}

/** Whether `work` has ended within `milliseconds`. */
async function within(work: Promise<unknown>, milliseconds: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  // Timers take 31 bits and fire at once beyond.
  const timer = setTimeout(() => resolve(false), Math.min(milliseconds, 2 ** 31 - 1));
  try {
    return await Promise.race([work.then(() => true), promise]);
  } finally {
    clearTimeout(timer);
  }
}
