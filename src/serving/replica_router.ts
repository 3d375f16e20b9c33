/**
 * Spreads requests over replicas.
 * @module
 */
import {
  EngineDeadError,
  type EngineInfo,
  type EngineStats,
  type GenerateRequest,
  type GenerationChunk,
  type Replica,
} from "../engine/types.ts";
import type { BalancingPolicy } from "../routing/balancing_policy.ts";
import { NoReplicaError } from "../routing/errors.ts";
import type { Lease } from "../routing/lease.ts";
import { ReplicaPool } from "../routing/replica_pool.ts";
import { EngineRoutedRequest } from "./routed_request.ts";

/** Options of {@linkcode ReplicaRouter}. */
export interface ReplicaRouterOptions {
  /** How a replica is chosen. Default {@linkcode LeastLoadedPolicy}. */
  readonly policy?: BalancingPolicy;
}

/** A request on its way: the generation, to be iterated (or returned) once. */
export interface Dispatch extends AsyncIterableIterator<GenerationChunk, void, void> {
  /** Number of the replica that serves it; final once the first chunk has come. */
  readonly engine: number;
}

/**
 * Several replicas of one model behind the interface of one. Only healthy replicas receive
 * requests. A request whose replica dies before its first chunk goes to another one; after that the
 * error is passed on, as part of the answer has left already.
 *
 * @example
 * ```ts
 * import { ReplicaRouter } from "@weft/weft/server";
 * import { LlmEngine } from "@weft/weft";
 * const engines = await Promise.all([1, 2].map(() => LlmEngine.load({ model: "models/demo" })));
 * await using router = new ReplicaRouter(engines);
 * for await (const chunk of router.generate({ prompt: "What is a rank?" })) console.log(chunk.text);
 * ```
 */
export class ReplicaRouter implements Replica {
  /** The replicas, in the order of their numbers. */
  readonly replicas: readonly Replica[];
  readonly #pool: ReplicaPool<Replica>;

  /** Takes ownership of `replicas`; throws RangeError when there are none. */
  constructor(replicas: readonly Replica[], options: ReplicaRouterOptions = {}) {
    if (replicas.length === 0) throw new RangeError("Cannot route requests as there is no replica");
    this.replicas = [...replicas];
    this.#pool = new ReplicaPool({ policy: options.policy });
    replicas.forEach((replica, engine) => this.#pool.add(String(engine), replica));
  }

  /** Name of the balancing policy. */
  get balancing(): string {
    return this.#pool.balancing;
  }

  /** What the replicas serve (they are copies of each other). */
  get info(): EngineInfo {
    return this.replicas[0].info;
  }

  /** True while at least one replica is healthy. */
  get healthy(): boolean {
    return this.replicas.some((replica) => replica.healthy);
  }

  /** Why no replica is healthy; null while one is. */
  get failure(): string | null {
    if (this.healthy) return null;
    return this.replicas
      .map(({ failure }, engine) => `engine ${engine}: ${failure ?? "unknown"}`)
      .join("; ");
  }

  /** Sums of the replicas' counters. */
  get stats(): EngineStats {
    const all = this.replicas.map(({ stats }) => stats);
    const sum = (key: keyof EngineStats): number =>
      all.reduce((total, stats) => total + stats[key], 0);
    return {
      running: sum("running"),
      waiting: sum("waiting"),
      kvBlocksFree: sum("kvBlocksFree"),
      kvBlocksTotal: sum("kvBlocksTotal"),
      preemptions: sum("preemptions"),
      prefixCacheQueries: sum("prefixCacheQueries"),
      prefixCacheHits: sum("prefixCacheHits"),
      promptTokens: sum("promptTokens"),
      generationTokens: sum("generationTokens"),
      steps: sum("steps"),
    };
  }

  /** Streams a generation from one of the replicas; throws UnsupportedRequestError, EngineDeadError. */
  generate(request: GenerateRequest): AsyncIterable<GenerationChunk> {
    return this.dispatch(request);
  }

  /** Like {@linkcode generate}, and says which replica serves the request. */
  dispatch(request: GenerateRequest): Dispatch {
    return new Route(this.#pool, request);
  }

  /** Disposes every replica. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.replicas.map((replica) => replica[Symbol.asyncDispose]()));
  }
}

/**
 * One request's way over the replicas. It counts as active from the first moment, so that requests
 * which arrive together are spread.
 */
class Route implements Dispatch {
  readonly #pool: ReplicaPool<Replica>;
  readonly #request: GenerateRequest;
  readonly #routed: EngineRoutedRequest;
  readonly #tried = new Set<string>();
  #lease: Lease<Replica> | null = null;
  #started = false;
  #engine = -1;
  #chunks: AsyncIterator<GenerationChunk>;

  constructor(pool: ReplicaPool<Replica>, request: GenerateRequest) {
    this.#pool = pool;
    this.#request = request;
    this.#routed = new EngineRoutedRequest(request);
    this.#chunks = this.#send(null);
  }

  get engine(): number {
    return this.#engine;
  }

  async next(): Promise<IteratorResult<GenerationChunk, void>> {
    while (true) {
      try {
        const result = await this.#chunks.next();
        this.#lease?.received();
        this.#started = true;
        if (result.done) this.#lease?.end("served");
        return result;
      } catch (error) {
        this.#lease?.end("cancelled");
        if (this.#started || this.#request.signal?.aborted) throw error;
        if (!(error instanceof EngineDeadError)) throw error;
        this.#chunks = this.#send(error);
      }
    }
  }

  async return(): Promise<IteratorResult<GenerationChunk, void>> {
    this.#lease?.end("cancelled");
    await this.#chunks.return?.();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Asks healthy replicas that were not tried yet until one takes the request. */
  #send(failure: EngineDeadError | null): AsyncIterator<GenerationChunk> {
    while (true) {
      const lease = this.#acquire();
      if (lease === null || this.#tried.has(lease.id)) {
        lease?.end("cancelled");
        throw failure ?? new EngineDeadError("Cannot serve the request as no engine is healthy");
      }
      this.#tried.add(lease.id);
      try {
        const chunks = lease.target.generate(this.#request)[Symbol.asyncIterator]();
        this.#engine = Number(lease.id);
        this.#lease = lease;
        return chunks;
      } catch (error) {
        lease.end("cancelled");
        if (!(error instanceof EngineDeadError)) throw error;
        failure = error;
      }
    }
  }

  /** A place at one that was not tried where there is one; null when none serves. */
  #acquire(): Lease<Replica> | null {
    for (const { id, state } of this.#pool.members) {
      const { healthy, failure } = this.#pool.target(id);
      if (!healthy && state !== "down") this.#pool.setDown(id, failure ?? "dead");
    }
    try {
      return this.#pool.tryAcquire(this.#routed, this.#tried);
    } catch (error) {
      if (error instanceof NoReplicaError) return null;
      throw error;
    }
  }
}
