/**
 * Counters that an engine's thread writes and others read.
 * @module
 */
import type { EngineStats } from "./types.ts";

const FIELDS: readonly (keyof EngineStats)[] = [
  "running",
  "waiting",
  "kvBlocksFree",
  "kvBlocksTotal",
  "preemptions",
  "prefixCacheQueries",
  "prefixCacheHits",
  "promptTokens",
  "generationTokens",
  "steps",
];

/** Counters in memory that threads share: to pass them on with every step takes no message. */
export class SharedStats {
  /** Where they lie; can be sent to another thread. */
  readonly memory: SharedArrayBuffer;
  readonly #values: Float64Array<SharedArrayBuffer>;

  /** Counters in `memory`; zeros in memory of their own when left out. */
  constructor(memory?: SharedArrayBuffer) {
    this.memory = memory ?? new SharedArrayBuffer(FIELDS.length * Float64Array.BYTES_PER_ELEMENT);
    this.#values = new Float64Array(this.memory);
  }

  /** Takes the counters of now. */
  write(stats: EngineStats): void {
    for (let i = 0; i < FIELDS.length; i++) this.#values[i] = stats[FIELDS[i]];
  }

  /** What was written last, or in part what is being written. */
  read(): EngineStats {
    const entries = FIELDS.map((name, i) => [name, this.#values[i]] as const);
    return Object.fromEntries(entries) as Record<keyof EngineStats, number>;
  }
}
