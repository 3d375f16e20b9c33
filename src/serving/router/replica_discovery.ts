/**
 * Keeps the replicas of a router those that its sources name.
 * @module
 */
import type { ReplicaRegistry } from "./replica_registry.ts";
import type { ReplicaAddress, ReplicaSource } from "./replica_source.ts";

/** Options of {@linkcode ReplicaDiscovery}. */
export interface ReplicaDiscoveryOptions {
  /** Where replicas join and leave. */
  readonly registry: Pick<ReplicaRegistry, "join" | "leave" | "setWeight">;
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

/** A replica that was let in. */
interface Joined {
  /** Its name, once its first probe has ended. */
  readonly id: Promise<string>;
  /** The share of the work that it was named with. */
  readonly weight: number;
}

/**
 * Lets replicas join that sources name and those leave that they name no more, until disposed. One that cannot join
 * is tried at every look; why is told once.
 */
export class ReplicaDiscovery implements Disposable {
  readonly #options: ReplicaDiscoveryOptions;
  readonly #joined = new Map<string, Joined>();
  readonly #leaving = new Set<string>();
  /** Why those that are named could not join, as it was told. */
  readonly #told = new Map<string, string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended = false;
  /** Why the last look failed; null when it has not. */
  #failure: string | null = null;

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
      await this.#lookAgain();
      this.#schedule();
    }, this.#options.intervalMs);
  }

  /** What goes wrong at every look is told once. */
  async #lookAgain(): Promise<void> {
    try {
      await this.#look();
      this.#failure = null;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#failure !== reason) this.#options.onError(error);
      this.#failure = reason;
    }
  }

  /** Joins of this look. */
  async #look(): Promise<readonly Promise<void>[]> {
    const found = await Promise.all(this.#options.sources.map((source) => source()));
    if (this.#ended) return [];
    const named = new Map(found.flat().map((address) => [address.url, address]));
    for (const [url, { id }] of this.#joined) if (!named.has(url)) this.#leave(url, id);
    for (const url of this.#told.keys()) if (!named.has(url)) this.#told.delete(url);
    const joins: Promise<void>[] = [];
    for (const address of named.values()) {
      const joined = this.#joined.get(address.url);
      if (joined !== undefined) this.#weigh(address, joined);
      else if (!this.#leaving.has(address.url)) joins.push(this.#join(address));
    }
    return joins;
  }

  async #join({ url, weight }: ReplicaAddress): Promise<void> {
    const { registry, apiKey, adminApiKey, maxConcurrency, onError } = this.#options;
    const id = registry.join(url, { weight, apiKey, adminApiKey, maxConcurrency });
    this.#joined.set(url, { id, weight });
    try {
      await id;
      this.#told.delete(url);
    } catch (error) {
      this.#joined.delete(url);
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#told.get(url) !== reason) onError(error);
      this.#told.set(url, reason);
    }
  }

  /** Until it has left its name is taken: it joins no sooner, should it be named again. */
  async #leave(url: string, id: Promise<string>): Promise<void> {
    const { registry, drainMs, onError } = this.#options;
    this.#joined.delete(url);
    this.#leaving.add(url);
    try {
      await registry.leave(await id, drainMs);
    } catch (error) {
      onError(error);
    } finally {
      this.#leaving.delete(url);
    }
  }

  /** What somebody else has changed since it was named stays. */
  async #weigh({ url, weight }: ReplicaAddress, { id, weight: before }: Joined): Promise<void> {
    if (weight === before) return;
    this.#joined.set(url, { id, weight });
    try {
      this.#options.registry.setWeight(await id, weight);
    } catch (error) {
      this.#options.onError(error);
    }
  }
}
