/**
 * Watches how much more the replicas of a router do together than alone.
 * @module
 */
import type { OccupancyReading } from "../../routing/occupancy.ts";
import type { ReplicaPool } from "../../routing/replica_pool.ts";
import { type ReplicaWork, ScalingEfficiency } from "../../routing/scaling_efficiency.ts";
import type { TokenCounters } from "./token_counters.ts";

/** Options of {@linkcode ScalingMonitor}. */
export interface ScalingMonitorOptions<T> {
  /** Reads a replica's counters; null when it has none. */
  readonly read: (target: T, signal: AbortSignal) => Promise<TokenCounters | null>;
  /** Length of a window, in milliseconds: at least 1000. Default 5000. */
  readonly intervalMs?: number;
}

/** Shorter windows hold few steps of an engine, and are read at a cost. */
const MIN_INTERVAL_MS = 1000;

interface Sample extends OccupancyReading, TokenCounters {}

/**
 * Reads the counters of every replica of a pool again and again, until disposed, and compares windows in which
 * one was busy with those in which several were. Requests are counted by the pool, tokens by the replicas
 * themselves, so that a request costs two readings of a clock. A pool of one is not read. Replicas that work for
 * others, too, are taken for slower than they are.
 */
export class ScalingMonitor<T> implements Disposable {
  readonly #pool: ReplicaPool<T>;
  readonly #options: ScalingMonitorOptions<T>;
  readonly #intervalMs: number;
  readonly #efficiency = new ScalingEfficiency();
  readonly #end = new AbortController();
  #samples: ReadonlyMap<string, Sample | null> = new Map();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Watches nothing yet: see {@linkcode start}. */
  constructor(pool: ReplicaPool<T>, options: ScalingMonitorOptions<T>) {
    this.#pool = pool;
    this.#options = options;
    this.#intervalMs = Math.max(MIN_INTERVAL_MS, options.intervalMs ?? 5000);
  }

  /** Scaling efficiencies by number of busy replicas, those that are known. */
  get known(): ReadonlyMap<number, number> {
    return this.#efficiency.known;
  }

  /** Begins. */
  start(): void {
    this.#timer = setTimeout(async () => {
      await this.sample();
      if (!this.#end.signal.aborted) this.start();
    }, this.#intervalMs);
  }

  /** Ends. */
  [Symbol.dispose](): void {
    this.#end.abort();
    clearTimeout(this.#timer);
  }

  /** Ends a window and begins the next. */
  async sample(): Promise<void> {
    const { members } = this.#pool;
    const before = this.#samples;
    for (const id of before.keys()) {
      if (!members.some((member) => member.id === id)) this.#efficiency.forget(id);
    }
    const ids = members.filter(({ serves }) => serves).map(({ id }) => id);
    const now = new Map<string, Sample | null>();
    if (ids.length > 1) {
      const signal = AbortSignal.any([this.#end.signal, AbortSignal.timeout(this.#intervalMs)]);
      await Promise.all(ids.map(async (id) => now.set(id, await this.#read(id, signal))));
    }
    this.#samples = now;
    for (const [id, sample] of now) {
      const earlier = before.get(id);
      const work = sample && earlier ? workBetween(earlier, sample) : null;
      if (work !== null) this.#efficiency.observe(id, work);
    }
  }

  async #read(id: string, signal: AbortSignal): Promise<Sample | null> {
    try {
      const counters = await this.#options.read(this.#pool.target(id), signal);
      // Read when the counters are: what happens between is in both or in neither.
      return counters && { ...counters, ...this.#pool.occupancy(id) };
    } catch {
      return null;
    }
  }
}

/** Null when the replica was idle, and when counters went back, as it was started again. */
function workBetween(earlier: Sample, later: Sample): ReplicaWork | null {
  const promptTokens = later.promptTokens - earlier.promptTokens;
  const generationTokens = later.generationTokens - earlier.generationTokens;
  const seconds = later.busy - earlier.busy;
  if (promptTokens < 0 || generationTokens < 0 || !(seconds > 0)) return null;
  const companions = (later.companions - earlier.companions) / seconds;
  const squares = (later.companionsSquared - earlier.companionsSquared) / seconds;
  return {
    seconds,
    companions,
    companionsVariance: squares - companions ** 2,
    concurrency: (later.requests - earlier.requests) / seconds,
    promptTokens,
    generationTokens,
  };
}
