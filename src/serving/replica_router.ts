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
import type { BalancingPolicy, ReplicaLoad } from "./balancing_policy.ts";
import { LeastLoadedPolicy } from "./least_loaded_policy.ts";

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

interface RoutedReplica {
  readonly replica: Replica;
  active: number;
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
  readonly #routed: readonly RoutedReplica[];
  readonly #policy: BalancingPolicy;

  /** Takes ownership of `replicas`; throws RangeError when there are none. */
  constructor(replicas: readonly Replica[], options: ReplicaRouterOptions = {}) {
    if (replicas.length === 0) throw new RangeError("Cannot route requests as there is no replica");
    this.#routed = replicas.map((replica) => ({ replica, active: 0 }));
    this.#policy = options.policy ?? new LeastLoadedPolicy();
  }

  /** The replicas, in the order of their numbers. */
  get replicas(): readonly Replica[] {
    return this.#routed.map(({ replica }) => replica);
  }

  /** Name of the balancing policy. */
  get balancing(): string {
    return this.#policy.name;
  }

  /** What the replicas serve (they are copies of each other). */
  get info(): EngineInfo {
    return this.#routed[0].replica.info;
  }

  /** True while at least one replica is healthy. */
  get healthy(): boolean {
    return this.#routed.some(({ replica }) => replica.healthy);
  }

  /** Why no replica is healthy; null while one is. */
  get failure(): string | null {
    if (this.healthy) return null;
    return this.#routed
      .map(({ replica }, index) => `engine ${index}: ${replica.failure ?? "unknown"}`)
      .join("; ");
  }

  /** Sums of the replicas' counters. */
  get stats(): EngineStats {
    const all = this.#routed.map(({ replica }) => replica.stats);
    const sum = (key: keyof EngineStats): number =>
      all.reduce((total, stats) => total + stats[key], 0);
    return {
      running: sum("running"),
      waiting: sum("waiting"),
      kvBlocksFree: sum("kvBlocksFree"),
      kvBlocksTotal: sum("kvBlocksTotal"),
      preemptions: sum("preemptions"),
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
    return new Route(this.#routed, this.#policy, request);
  }

  /** Disposes every replica. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#routed.map(({ replica }) => replica[Symbol.asyncDispose]()));
  }
}

/**
 * One request's way over the replicas. It counts as active from the first moment, so that requests
 * which arrive together are spread.
 */
class Route implements Dispatch {
  readonly #routed: readonly RoutedReplica[];
  readonly #policy: BalancingPolicy;
  readonly #request: GenerateRequest;
  readonly #tried = new Set<number>();
  #engine = -1;
  #counted = false;
  #started = false;
  #chunks: AsyncIterator<GenerationChunk>;

  constructor(
    routed: readonly RoutedReplica[],
    policy: BalancingPolicy,
    request: GenerateRequest,
  ) {
    this.#routed = routed;
    this.#policy = policy;
    this.#request = request;
    this.#chunks = this.#send(null);
  }

  get engine(): number {
    return this.#engine;
  }

  async next(): Promise<IteratorResult<GenerationChunk, void>> {
    while (true) {
      try {
        const result = await this.#chunks.next();
        if (result.done) this.#leave();
        else this.#started = true;
        return result;
      } catch (error) {
        this.#leave();
        if (this.#started || this.#request.signal?.aborted) throw error;
        if (!(error instanceof EngineDeadError)) throw error;
        this.#chunks = this.#send(error);
      }
    }
  }

  async return(): Promise<IteratorResult<GenerationChunk, void>> {
    this.#leave();
    await this.#chunks.return?.();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Asks healthy replicas that were not tried yet until one takes the request. */
  #send(failure: EngineDeadError | null): AsyncIterator<GenerationChunk> {
    while (true) {
      const candidates: ReplicaLoad[] = [];
      this.#routed.forEach(({ replica, active }, index) => {
        if (replica.healthy && !this.#tried.has(index)) candidates.push({ index, active });
      });
      if (candidates.length === 0) {
        throw failure ?? new EngineDeadError("Cannot serve the request as no engine is healthy");
      }
      this.#engine = this.#policy.select(candidates, this.#request).index;
      this.#tried.add(this.#engine);
      const routed = this.#routed[this.#engine];
      try {
        const chunks = routed.replica.generate(this.#request)[Symbol.asyncIterator]();
        routed.active++;
        this.#counted = true;
        return chunks;
      } catch (error) {
        if (!(error instanceof EngineDeadError)) throw error;
        failure = error;
      }
    }
  }

  #leave(): void {
    if (!this.#counted) return;
    this.#counted = false;
    this.#routed[this.#engine].active--;
  }
}
