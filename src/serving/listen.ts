/**
 * Serves an app over HTTP and stops gracefully.
 * @module
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { within } from "../routing/within.ts";
import type { ConnectionInfo } from "./connection_info.ts";
import { CLOSE_TIMEOUT_MS, urlOf } from "./listening.ts";
import type { RequestGate } from "./request_gate.ts";

/** Options of {@linkcode listen}. */
export interface ListenOptions {
  /** Answers requests: `app.fetch` of {@linkcode createServer}. */
  readonly fetch: (
    request: Request,
    connection: ConnectionInfo,
  ) => Response | Promise<Response>;
  /** The gate given to {@linkcode createServer}. */
  readonly gate: RequestGate;
  /** Address to bind. Default `127.0.0.1`: this machine only. */
  readonly host?: string;
  /** Port; 0 takes a free one. Default 8000. */
  readonly port?: number;
  /** A connection whose request's headers take longer is closed. Default 30000. */
  readonly headersTimeoutMs?: number;
  /** A connection whose whole request takes longer is closed; the app has a deadline of its own for bodies. Default 120000. */
  readonly requestTimeoutMs?: number;
  /** A connection without a request is closed after this. Default 75000: longer than most proxies keep theirs. */
  readonly idleTimeoutMs?: number;
}

/** How often the server looks for connections that are too slow. */
const CHECK_INTERVAL_MS = 500;

/**
 * Binds and serves until {@linkcode HttpListener.shutdown}. It is Node's server: that of `Deno.serve` does
 * not say when the client of a request with a body of some size has gone (Deno 2.9), and its answer would be
 * computed to the end for nobody.
 *
 * Rejects with an Error whose `code` is `EADDRINUSE` when the port is taken.
 */
export async function listen(options: ListenOptions): Promise<HttpListener> {
  const timeouts = {
    headersTimeout: options.headersTimeoutMs ?? 30_000,
    keepAliveTimeout: options.idleTimeoutMs ?? 75_000,
    requestTimeout: options.requestTimeoutMs ?? 120_000,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
  };
  const server = createServer(
    timeouts,
    getRequestListener(
      (request, { incoming: { socket } }) => options.fetch(request, connectionOf(socket)),
      { overrideGlobalObjects: false },
    ),
  );
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(options.port ?? 8000, options.host ?? "127.0.0.1", resolve);
  await promise;
  return new HttpListener(server, options.gate);
}

/** A server that accepts connections. Disposing it stops without waiting for requests. */
export class HttpListener implements AsyncDisposable {
  readonly #server: Server;
  readonly #address: AddressInfo;
  readonly #gate: RequestGate;
  readonly #closed = Promise.withResolvers<void>();
  #stopped: Promise<void> | null = null;

  /** Looks after a server that listens; made by {@linkcode listen}. */
  constructor(server: Server, gate: RequestGate) {
    this.#server = server;
    this.#address = server.address() as AddressInfo;
    this.#gate = gate;
    server.once("close", () => this.#closed.resolve());
  }

  /** Host that is bound. */
  get host(): string {
    return this.#address.address;
  }

  /** Port that is bound. */
  get port(): number {
    return this.#address.port;
  }

  /** Address for clients, such as `http://127.0.0.1:8000`. */
  get url(): string {
    return urlOf(this.host, this.port);
  }

  /** Resolves when the server has stopped. */
  get finished(): Promise<void> {
    return this.#closed.promise;
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

  async #stop(graceMs: number): Promise<void> {
    await within(this.#gate.close(), graceMs);
    this.#gate.cancelAll();
    // Answers that are on their way leave first; connections that only wait are closed at once.
    this.#server.close();
    this.#server.closeIdleConnections();
    if (!await within(this.#closed.promise, CLOSE_TIMEOUT_MS)) this.#server.closeAllConnections();
    await this.#closed.promise;
  }
}

/** The address is gone when the client is. */
function connectionOf({ remoteAddress = "", remotePort = 0 }: {
  readonly remoteAddress?: string;
  readonly remotePort?: number;
}): ConnectionInfo {
  return { remoteAddr: { hostname: remoteAddress, port: remotePort } };
}
