/**
 * Where a router learns which replicas there are.
 * @module
 */
import type { ReplicaRegistry } from "./replica_registry.ts";

/** A replica's address and its share of the work. */
export interface ReplicaAddress {
  /** Address, such as `http://10.0.0.7:8000`. */
  readonly url: string;
  /** Share of the work beside others. */
  readonly weight: number;
}

/** Names the replicas that there should be now; it is asked again and again. */
export type ReplicaSource = () => Promise<readonly ReplicaAddress[]>;

/** `URL` or `URL=weight`; throws RangeError, which names the text, for anything else. */
export function parseReplicaAddress(text: string): ReplicaAddress {
  const [, url, weight] = /^(.*?)(?:=([0-9.]+))?$/s.exec(text.trim())!;
  const parsed = URL.parse(url);
  if (parsed === null || !/^(https?|dns):$/.test(parsed.protocol) || parsed.host === "") {
    throw new RangeError(
      `it must be an address such as http://host:8000 or http://host:8000=2: ${text}`,
    );
  }
  const share = weight === undefined ? 1 : Number(weight);
  if (!(share > 0 && share < Infinity)) {
    {
      throw new RangeError(`Cannot read the replica as its weight must be positive: ${text}`);
    }
  }
  return { url: url.replace(/\/+$/, ""), weight: share };
}

/** The addresses in a file, one a line, as {@linkcode parseReplicaAddress} has them; `#` begins a comment. */
export function fileSource(path: string): ReplicaSource {
  return async () => {
    const lines = (await Deno.readTextFile(path)).split("\n").map((line) =>
      line.replace(/#.*/, "").trim()
    );
    return lines.filter((line) => line !== "").map(parseReplicaAddress);
  };
}

/**
 * Every address that a name stands for, as a headless service of Kubernetes has them: `dns://name:port` is
 * `http://` at each.
 */
export function dnsSource({ url, weight }: ReplicaAddress): ReplicaSource {
  const { hostname, port } = new URL(url);
  return async () => {
    const found = await Promise.allSettled([
      Deno.resolveDns(hostname, "A"),
      Deno.resolveDns(hostname, "AAAA").then((all) => all.map((address) => `[${address}]`)),
    ]);
    const addresses = found.flatMap((answer) => answer.status === "fulfilled" ? answer.value : []);
    if (addresses.length === 0) {
      throw new Error(`Cannot resolve the name of the replicas: ${hostname}`);
    }
    return addresses.map((host) => ({ url: `http://${host}:${port || "80"}`, weight }));
  };
}

/** Options of {@linkcode ReplicaDiscovery}. */
export interface ReplicaDiscoveryOptions {
  /** Where replicas join and leave. */
  readonly registry: Pick<ReplicaRegistry, "join" | "leave">;
  /** Who should be there. */
  readonly sources: readonly ReplicaSource[];
  /** Key that replicas ask for. */
  readonly apiKey?: string;
  /** Key that they ask for below `/admin`. Default: the same. */
  readonly adminApiKey?: string;
  /** Requests that a replica gets at once. */
  readonly maxConcurrency?: number;
  /** Time between two looks, in milliseconds. */
  readonly intervalMs: number;
  /** Time that a replica which is no longer named has for its requests, in milliseconds. */
  readonly drainMs: number;
  /** Receives what went wrong; the replicas stay as they are then. */
  readonly onError: (error: unknown) => void;
}

/** Lets replicas join that sources name and those leave that they name no more, until disposed. */
export class ReplicaDiscovery implements Disposable {
  readonly #options: ReplicaDiscoveryOptions;
  readonly #joined = new Map<string, Promise<string>>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended = false;

  /** Looks at nothing yet: see {@linkcode start}. */
  constructor(options: ReplicaDiscoveryOptions) {
    this.#options = options;
  }

  /**
   * Looks for the first time, and then at every interval; resolves when all that were found have been probed.
   * Rejects when a source fails at first.
   */
  async start(): Promise<void> {
    await Promise.all(await this.#look());
    this.#schedule();
  }

  /** Looks no more. Replicas stay. */
  [Symbol.dispose](): void {
    this.#ended = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#ended) return;
    this.#timer = setTimeout(async () => {
      await this.#look().catch(this.#options.onError);
      this.#schedule();
    }, this.#options.intervalMs);
  }

  /** Joins of this look. */
  async #look(): Promise<readonly Promise<unknown>[]> {
    const { sources, registry, drainMs, onError } = this.#options;
    const { apiKey, adminApiKey, maxConcurrency } = this.#options;
    const found = await Promise.all(sources.map((source) => source()));
    const named = new Map(found.flat().map((address) => [address.url, address]));
    for (const [url, id] of this.#joined) {
      if (named.has(url)) continue;
      this.#joined.delete(url);
      id.then((id) => registry.leave(id, drainMs)).catch(onError);
    }
    return [...named.values()].filter(({ url }) => !this.#joined.has(url)).map(
      ({ url, weight }) => {
        const join = registry.join(url, { weight, apiKey, adminApiKey, maxConcurrency });
        this.#joined.set(url, join);
        return join.catch(onError);
      },
    );
  }
}
