/**
 * Serves a router and stops gracefully.
 * @module
 */
import { within } from "../../routing/within.ts";
import { CLOSE_TIMEOUT_MS, urlOf } from "../listening.ts";
import type { RequestGate } from "../request_gate.ts";
import type { RouterServer } from "./router_server.ts";

/** Options of {@linkcode listenRouter}. */
export interface ListenRouterOptions {
  /** What answers. */
  readonly router: RouterServer;
  /** The gate given to the router. */
  readonly gate: RequestGate;
  /** Address to bind. Default `127.0.0.1`: this machine only. */
  readonly host?: string;
  /** Port; 0 takes a free one. Default 8000. */
  readonly port?: number;
}

/** A router that accepts connections. Disposing it stops without waiting for requests. */
export interface RouterListener extends AsyncDisposable {
  /** Address for clients, such as `http://127.0.0.1:8000`. */
  readonly url: string;
  /**
   * New requests get 503, those inside go on for `graceMs` milliseconds at most; resolves when every
   * connection is closed.
   */
  shutdown(graceMs: number): Promise<void>;
}

/**
 * Binds and serves. It is Deno's server, which takes half the time of Node's for a request that only passes
 * through. It has no deadline for a request's headers, so that untrusted networks need a proxy before it, and does
 * not say when a client has gone whose request took more than one packet (Deno 2.9): a stream ends when its
 * next piece cannot be written, but an answer in one piece is computed to its end.
 */
export function listenRouter(options: ListenRouterOptions): RouterListener {
  const { router, gate, host = "127.0.0.1", port = 8000 } = options;
  const stop = new AbortController();
  const server = Deno.serve(
    { hostname: host, port, signal: stop.signal, onListen: () => {} },
    router.fetch,
  );
  const { hostname, port: bound } = server.addr;
  let stopped: Promise<void> | null = null;
  return {
    url: urlOf(hostname, bound),
    shutdown(graceMs) {
      return stopped ??= drain(graceMs);
    },
    async [Symbol.asyncDispose]() {
      await this.shutdown(0);
    },
  };

  async function drain(graceMs: number): Promise<void> {
    await within(gate.close(), graceMs);
    gate.cancelAll();
    if (!await within(server.shutdown(), CLOSE_TIMEOUT_MS)) stop.abort();
    await server.finished;
  }
}
