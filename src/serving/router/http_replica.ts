/**
 * A replica behind an OpenAI-compatible address.
 * @module
 */
import { AttemptError } from "../../routing/attempt.ts";
import { whyUnreachable } from "../why_unreachable.ts";

/** Options of {@linkcode HttpReplica}. */
export interface HttpReplicaOptions {
  /** Key that it asks for; without one the client's own is passed on. */
  readonly apiKey?: string;
  /** Key of its routes below `/admin`. Default: the same. */
  readonly adminApiKey?: string;
}

/** A request as it is passed on. */
export interface UpstreamRequest {
  /** Method and path with query. */
  readonly method: string;
  /** Path with query, from the slash. */
  readonly path: string;
  /** What the replica gets to see: names in lower case, and their values. */
  readonly headers: Iterable<readonly [string, string]>;
  /** The body, which may be sent again. */
  readonly body: Uint8Array<ArrayBuffer> | null;
  /** Ends the request. */
  readonly signal: AbortSignal;
}

/** Another weft, vLLM, llama-server or anything else that speaks the API at an address. */
export class HttpReplica {
  /** Its address, without a slash at the end. */
  readonly url: string;
  readonly #authorization: string | null;
  readonly #adminAuthorization: string | null;

  /** Throws RangeError when `url` is no http or https address. */
  constructor(url: string, options: HttpReplicaOptions = {}) {
    const parsed = URL.parse(url);
    if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
      throw new RangeError(`Cannot route to the replica as it is no http address: ${url}`);
    }
    const { origin, pathname, username, password, search, hash } = parsed;
    if (username + password + search + hash !== "") {
      // Not the address as it came: it may hold a password.
      throw new RangeError(
        `Cannot route to the replica as only host, port and path may be named: ${origin}${pathname}`,
      );
    }
    this.url = parsed.href.replace(/\/+$/, "");
    this.#authorization = bearer(options.apiKey);
    this.#adminAuthorization = bearer(options.adminApiKey) ?? this.#authorization;
  }

  /** Asks for something of the router's own; throws as {@linkcode send} does. */
  get(path: string, signal: AbortSignal): Promise<Response> {
    return this.send({ method: "GET", path, headers: [], body: null, signal });
  }

  /** Sends JSON of the router's own; throws as {@linkcode send} does. */
  post(path: string, body: object, signal: AbortSignal): Promise<Response> {
    return this.send({
      method: "POST",
      path,
      headers: [["content-type", "application/json"]],
      body: new TextEncoder().encode(JSON.stringify(body)),
      signal,
    });
  }

  /** Sends a request; throws AttemptError (lost) when the connection fails. */
  async send(request: UpstreamRequest): Promise<Response> {
    const { method, path, body, signal } = request;
    let headers = [...request.headers] as [string, string][];
    const own = path.startsWith("/admin/") ? this.#adminAuthorization : this.#authorization;
    if (own !== null) {
      headers = headers.filter(([name]) => name !== "authorization");
      headers.push(["authorization", own]);
    }
    try {
      return await fetch(this.url + path, { method, headers, body, signal, redirect: "manual" });
    } catch (error) {
      signal.throwIfAborted();
      throw lost(this.url, error);
    }
  }
}

function bearer(key: string | undefined): string | null {
  return key === undefined ? null : `Bearer ${key}`;
}

/** The connection to a replica has ended. */
export function lost(url: string, cause: unknown): AttemptError {
  const reason = whyUnreachable(cause);
  return new AttemptError(`Cannot reach the replica ${url}: ${reason}`, { failure: "lost", cause });
}
