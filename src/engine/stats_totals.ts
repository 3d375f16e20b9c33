/**
 * Counters of an engine over all the weights that it has served.
 * @module
 */
import type { EngineStats } from "./types.ts";

const COUNTERS = [
  "preemptions",
  "prefixCacheQueries",
  "prefixCacheHits",
  "promptTokens",
  "generationTokens",
  "steps",
] as const;

type Counters = Record<typeof COUNTERS[number], number>;

/** Adds up counters, so that they never fall when weights change. */
export class StatsTotals {
  readonly #ended = Object.fromEntries(COUNTERS.map((name) => [name, 0])) as Counters;

  /** Counts what weights that are no more have done. */
  add(stats: EngineStats): void {
    for (const name of COUNTERS) this.#ended[name] += stats[name];
  }

  /** The counters with those of `live` weights; gauges of blocks are those of `blocks`, and `waiting` more wait. */
  with(
    live: readonly EngineStats[],
    { blocks, waiting }: { readonly blocks: EngineStats; readonly waiting: number },
  ): EngineStats {
    const sum = (of: (stats: EngineStats) => number) =>
      live.reduce((total, stats) => total + of(stats), 0);
    const counters: Counters = { ...this.#ended };
    for (const name of COUNTERS) counters[name] += sum((stats) => stats[name]);
    return {
      ...counters,
      running: sum((stats) => stats.running),
      waiting: sum((stats) => stats.waiting) + waiting,
      kvBlocksFree: blocks.kvBlocksFree,
      kvBlocksTotal: blocks.kvBlocksTotal,
    };
  }
}
