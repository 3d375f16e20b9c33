/**
 * A client's request on its way to a replica.
 * @module
 */
import type { RoutedRequest } from "../../routing/balancing_policy.ts";
import { prefixHashes } from "../../routing/prefix_hash.ts";
import { badRequest } from "../api_error.ts";
import type { ConnectionInfo } from "../connection_info.ts";
import { REQUEST_ID_HEADER } from "../request_log.ts";

/** Units of a prompt that one hash covers: characters, or tokens. */
const CHARACTERS_PER_PART = 64;
const TOKENS_PER_PART = 16;

/** Bytes of a body for each token that is assumed. */
const BYTES_PER_TOKEN = 4;

/** Headers that replicas get to see; `authorization` where they have no key of their own. */
const PASSED_HEADERS = [
  "accept",
  "authorization",
  "content-encoding",
  "content-type",
  "traceparent",
  "tracestate",
  "user-agent",
  "x-request-timeout",
  "x-session-id",
] as const;

const DECODER = new TextDecoder();

/** What the router reads of a body; anything else is the replica's business. */
interface KnownFields {
  readonly stream?: unknown;
  readonly prompt?: unknown;
  readonly input?: unknown;
  readonly messages?: unknown;
  readonly prompt_cache_key?: unknown;
  readonly user?: unknown;
}

/**
 * A request with its body, as policies see it. The body is parsed when something of it is asked for; one that
 * is no JSON is passed on as it is, for the replica to refuse.
 */
export class ForwardedRequest implements RoutedRequest {
  /** The method. */
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  /** The body; null for none. */
  readonly body: Uint8Array<ArrayBuffer> | null;
  /** See {@linkcode RoutedRequest.tokens}. */
  readonly tokens: number;
  readonly #headers: Headers;
  readonly #id: string;
  readonly #info: ConnectionInfo | undefined;
  #fields: KnownFields | null = null;
  #prefix: readonly number[] | null = null;

  /**
   * Takes method, path and headers of `request`, which is called `id`. Throws ApiError 400 for a path that is read
   * otherwise than it is written.
   */
  constructor(
    request: Request,
    body: Uint8Array<ArrayBuffer> | null,
    { id, info }: { readonly id: string; readonly info?: ConnectionInfo },
  ) {
    this.method = request.method;
    this.path = pathOf(request.url);
    this.body = body;
    this.tokens = Math.ceil((body?.length ?? 0) / BYTES_PER_TOKEN);
    this.#headers = request.headers;
    this.#id = id;
    this.#info = info;
  }

  /** See {@linkcode RoutedRequest.stream}. */
  get stream(): boolean {
    return this.#known.stream === true;
  }

  /** See {@linkcode RoutedRequest.session}. */
  get session(): string | null {
    const header = this.#headers.get("x-session-id");
    if (header !== null) return header;
    const { prompt_cache_key, user } = this.#known;
    for (const value of [prompt_cache_key, user]) if (typeof value === "string") return value;
    return null;
  }

  /** See {@linkcode RoutedRequest.connection}. */
  get connection(): string | null {
    if (this.#info === undefined) return null;
    const { hostname, port } = this.#info.remoteAddr;
    return `${hostname} ${port}`;
  }

  /** See {@linkcode RoutedRequest.prefix}. */
  get prefix(): readonly number[] {
    return this.#prefix ??= hashesOf(this.#known);
  }

  /** Headers for a replica. */
  get headers(): readonly (readonly [string, string])[] {
    return [...pairsOf(this.#headers, PASSED_HEADERS), [REQUEST_ID_HEADER, this.#id]];
  }

  get #known(): KnownFields {
    return this.#fields ??= parse(this.body);
  }
}

/**
 * Path with query. A listener may hand an address on as it came, so that routes are found by what it says, while
 * whoever sends it reads it anew: `/v1/../admin` would reach the admin routes of a replica, with the replica's key.
 */
function pathOf(url: string): string {
  const path = url.slice(url.indexOf("/", url.indexOf("//") + 2));
  const { pathname } = URL.parse(url) ?? {};
  if (path === pathname || path.startsWith(`${pathname}?`)) return path;
  throw badRequest(
    `Cannot pass the request on as its path is read otherwise than it is written: ${
      path.slice(0, 200)
    }`,
    null,
    "invalid_path",
  );
}

/** Those of `names`, in lower case, that there are, with their values. */
export function pairsOf(headers: Headers, names: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null) pairs.push([name, value]);
  }
  return pairs;
}

function parse(body: Uint8Array | null): KnownFields {
  try {
    const value: unknown = body === null ? null : JSON.parse(DECODER.decode(body));
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

function hashesOf({ messages, prompt, input }: KnownFields): readonly number[] {
  if (Array.isArray(messages)) return prefixHashes(JSON.stringify(messages), CHARACTERS_PER_PART);
  const first = prompt ?? input;
  if (typeof first === "string") return prefixHashes(first, CHARACTERS_PER_PART);
  if (!Array.isArray(first)) return [];
  if (first.every((token) => typeof token === "number")) {
    return prefixHashes(first, TOKENS_PER_PART);
  }
  return typeof first[0] === "string" ? prefixHashes(first[0], CHARACTERS_PER_PART) : [];
}
