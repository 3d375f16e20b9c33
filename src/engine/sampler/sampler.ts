/**
 * Draws tokens from logits that are divided over tensor-parallel ranks.
 *
 * Only maxima, sums, histograms and winners cross the ranks, and every sum that decides something is
 * taken in integers or in one fixed tree: the same request gets the same token on any layout.
 * @module
 */
import type { GumbelOptions } from "../../tensor/sampling_kernels.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { LogitAdjuster } from "./logit_adjuster.ts";
import { LogprobCollector } from "./logprobs.ts";
import {
  type SamplerOptions,
  type SampleRow,
  type SamplingWork,
  SamplingWorks,
} from "./sample_row.ts";
import { SamplingParameters } from "./sampling_parameters.ts";
import type { PendingSamples } from "./samples_landing.ts";
import { SamplingResults } from "./sampling_results.ts";
import { ThresholdSearch } from "./threshold_search.ts";

type ShardGumbelOptions = GumbelOptions & { readonly size: number; readonly firstId: number };

/**
 * Gumbel-max sampling: the token with the largest logit / temperature + noise, where the noise is a
 * function of (seed, choice, position, token id) alone (NUMERICS.md 9). Truncation is a threshold on
 * the logits, applied in the order min-p, top-k, top-p; tokens that tie with the last one kept are kept.
 * Adjustments of the logits come before all of that; log-probabilities are those of the logits without them.
 *
 * A step is {@linkcode prepare}, {@linkcode run}, {@linkcode readBack}: one upload, work on the device
 * alone, one copy back. Every tensor-parallel rank calls them with the same rows.
 */
export class Sampler implements Disposable {
  readonly #options: SamplerOptions;
  readonly #works: SamplingWorks;
  readonly #parameters: SamplingParameters;
  readonly #results: SamplingResults;
  readonly #values: Tensor;
  readonly #thresholds: Tensor;
  readonly #noThresholds: Tensor;
  readonly #draws: Tensor;
  readonly #gatheredDraws: Tensor;
  readonly #gatheredStats: Tensor;
  readonly #plainDraws: ShardGumbelOptions;
  readonly #truncatedDraws: ShardGumbelOptions;
  readonly #search: ThresholdSearch;
  readonly #logprobs: LogprobCollector;
  readonly #adjuster: LogitAdjuster;
  #rows: readonly SampleRow[] = [];

  /** Allocates what the largest batch of rows needs. */
  constructor(options: SamplerOptions) {
    const { device, tensorParallel, logits } = options;
    const rows = logits.shape[0];
    const parts = tensorParallel.size;
    this.#options = options;
    this.#works = new SamplingWorks(options);
    this.#parameters = new SamplingParameters(device, rows);
    this.#results = new SamplingResults(options);
    this.#values = Tensor.allocate(device, { shape: [rows] });
    this.#thresholds = Tensor.allocate(device, { shape: [rows] });
    this.#noThresholds = Tensor.allocate(device, { shape: [rows] });
    this.#noThresholds.upload(new Float32Array(rows).fill(-Infinity));
    this.#plainDraws = this.#drawsFrom(this.#noThresholds);
    this.#truncatedDraws = this.#drawsFrom(this.#thresholds);
    this.#draws = Tensor.allocate(device, { shape: [2, rows], dtype: "i32" });
    this.#gatheredDraws = Tensor.allocate(device, { shape: [parts, 2, rows], dtype: "i32" });
    this.#gatheredStats = Tensor.allocate(device, { shape: [parts, rows, 2] });
    this.#search = new ThresholdSearch(options);
    this.#logprobs = new LogprobCollector(options, this.#results);
    this.#adjuster = new LogitAdjuster(options);
  }

  /** i32, at least `[maxRows]`, on the device: the drawn token of each row, on every rank. */
  get tokens(): Tensor {
    return this.#results.tokens;
  }

  /** Takes the memory that adjusted rows need, which else the first of them takes. */
  reserve(): void {
    this.#adjuster.reserve();
  }

  /**
   * Uploads what `rows` ask for and says what work that is. Rows that follow them, up to `paddedRows`,
   * are drawn greedily and go nowhere. `rows` must stay as they are until they have been read back.
   * Throws RangeError when they are more than the logits have.
   */
  prepare(rows: readonly SampleRow[], paddedRows: number = rows.length): SamplingWork {
    const work = this.#works.of(rows, paddedRows);
    this.#rows = rows;
    this.#logprobs.prepare(work);
    if (work.adjusted) this.#adjuster.upload(rows, work);
    this.#parameters.upload(rows, work);
    return work;
  }

  /**
   * Draws the tokens and finds what their log-probabilities need. Device work only: unless it is for
   * whole vocabularies, it may be recorded once for each `work.key` and replayed.
   */
  run(work: SamplingWork): void {
    const { rows, truncated, adjusted, logprobs } = work;
    const { stats } = this.#results;
    if (logprobs || (truncated && !adjusted)) this.#reduceStats(stats, rows);
    this.#logprobs.findTops(work);
    if (adjusted) this.#adjuster.adjust(work);
    if (truncated) this.#truncate(work, adjusted ? this.#adjustedStats(rows) : stats);
    this.#draw(work);
    if (adjusted && logprobs) this.#adjuster.restore(work);
    this.#logprobs.findTargets(work, this.#parameters);
  }

  /** Queues the copy of what the work has drawn for the rows that were last prepared. */
  readBack(work: SamplingWork): PendingSamples {
    const whole = work.logprobs?.whole && this.#options.tensorParallel.rank === 0
      ? this.#logprobs.downloadWhole(work.rows)
      : null;
    return this.#results.readBack(this.#rows, work, whole);
  }

  /** Those of the logits that are drawn from, where they are not those that are reported. */
  #adjustedStats(rows: number): Tensor {
    const { stats } = this.#adjuster;
    this.#reduceStats(stats, rows);
    return stats;
  }

  /** Maximum and sum of exponentials of every row, over the whole vocabulary. */
  #reduceStats(stats: Tensor, rows: number): void {
    const { device, tensorParallel, vocab, logits } = this.#options;
    const { paddedCount: size, blockSize } = vocab;
    device.logSumExp(stats, logits, rows, { size, blockSize });
    if (tensorParallel.size === 1) return;
    tensorParallel.allGather(this.#gatheredStats.address, stats.address, rows * 2);
    device.mergeLogSumExp(stats, this.#gatheredStats, rows, tensorParallel.size);
  }

  #truncate({ rows, topK, topP }: SamplingWork, stats: Tensor): void {
    const { minPOffsets, topKShares, topPShares, temperatures } = this.#parameters;
    const thresholds = this.#thresholds;
    this.#options.device.minPThresholds(thresholds, stats, minPOffsets.tensor, rows);
    const common = { thresholds, stats, temperatures: temperatures.tensor };
    if (topK) this.#search.raise(rows, { ...common, kind: "count", shares: topKShares.tensor });
    if (topP) this.#search.raise(rows, { ...common, kind: "mass", shares: topPShares.tensor });
  }

  #drawsFrom(thresholds: Tensor): ShardGumbelOptions {
    const { temperatures, seeds, choices, positions } = this.#parameters;
    const { vocab } = this.#options;
    return {
      temperatures: temperatures.tensor,
      seeds: seeds.tensor,
      choices: choices.tensor,
      positions: positions.tensor,
      thresholds,
      size: vocab.paddedCount,
      firstId: vocab.firstId,
    };
  }

  #draw({ rows, truncated }: SamplingWork): void {
    const { device, tensorParallel, logits } = this.#options;
    const options = truncated ? this.#truncatedDraws : this.#plainDraws;
    if (tensorParallel.size === 1) {
      device.gumbelArgmax(this.#values, this.tokens, logits, rows, options);
      return;
    }
    const { address } = this.#draws;
    const values = Tensor.view(device, address, { shape: [rows] });
    const ids = Tensor.view(device, address + BigInt(4 * rows), { shape: [rows], dtype: "i32" });
    device.gumbelArgmax(values, ids, logits, rows, options);
    tensorParallel.allGather(this.#gatheredDraws.address, address, 2 * rows, { dtype: "i32" });
    device.mergeDraws(this.tokens, this.#gatheredDraws, rows, tensorParallel.size);
  }

  /** Frees the buffers. */
  [Symbol.dispose](): void {
    const resources = [
      this.#parameters,
      this.#results,
      this.#values,
      this.#thresholds,
      this.#noThresholds,
      this.#draws,
      this.#gatheredDraws,
      this.#gatheredStats,
      this.#search,
      this.#logprobs,
      this.#adjuster,
    ];
    for (const resource of resources) resource[Symbol.dispose]();
  }
}
