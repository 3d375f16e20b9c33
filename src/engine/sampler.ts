/**
 * Draws tokens from logits that are divided over tensor-parallel ranks.
 *
 * Only maxima, sums, histograms and winners cross the ranks, and every sum that decides something is
 * taken in integers or in one fixed tree: the same request gets the same token on any layout.
 * @module
 */
import { Tensor } from "../tensor/tensor.ts";
import { LogprobCollector } from "./logprobs.ts";
import { isTruncated, type SamplerOptions, type SampleRow } from "./sample_row.ts";
import type { RowLogprobs } from "./step_plan.ts";
import { ThresholdSearch } from "./threshold_search.ts";

/**
 * Gumbel-max sampling: the token with the largest logit / temperature + noise, where the noise is a
 * function of (seed, choice, position, token id) alone (NUMERICS.md 9). Truncation is a threshold on
 * the logits, applied in the order min-p, top-k, top-p; tokens that tie with the last one kept are kept.
 */
export class Sampler implements Disposable {
  /** The drawn token of each row, on every rank. */
  readonly tokens: Int32Array;
  readonly #options: SamplerOptions;
  readonly #maxRows: number;
  readonly #host: {
    readonly temperatures: Float32Array;
    readonly seeds: Int32Array;
    readonly choices: Int32Array;
    readonly positions: Int32Array;
    readonly thresholds: Float32Array;
    readonly stats: Float32Array;
    readonly values: Float32Array;
    readonly ids: Int32Array;
  };
  readonly #device: {
    readonly temperatures: Tensor;
    readonly seeds: Tensor;
    readonly choices: Tensor;
    readonly positions: Tensor;
    readonly thresholds: Tensor;
    readonly stats: Tensor;
    readonly gatheredStats: Tensor;
    readonly values: Tensor;
    readonly ids: Tensor;
    readonly gatheredValues: Tensor;
    readonly gatheredIds: Tensor;
  };
  readonly #search: ThresholdSearch;
  readonly #logprobs: LogprobCollector;

  /** Allocates what the largest batch of rows needs. */
  constructor(options: SamplerOptions) {
    const { device, tensorParallel, logits } = options;
    const rows = logits.shape[0];
    const parts = tensorParallel.size;
    const f32 = (...shape: number[]) => Tensor.allocate(device, { shape });
    const i32 = (...shape: number[]) => Tensor.allocate(device, { shape, dtype: "i32" });
    this.#options = options;
    this.#maxRows = rows;
    this.tokens = new Int32Array(rows);
    this.#host = {
      temperatures: new Float32Array(rows),
      seeds: new Int32Array(rows * 2),
      choices: new Int32Array(rows),
      positions: new Int32Array(rows),
      thresholds: new Float32Array(rows),
      stats: new Float32Array(rows * 2),
      values: new Float32Array(rows * parts),
      ids: new Int32Array(rows * parts),
    };
    this.#device = {
      temperatures: f32(rows),
      seeds: i32(rows, 2),
      choices: i32(rows),
      positions: i32(rows),
      thresholds: f32(rows),
      stats: f32(rows, 2),
      gatheredStats: f32(parts, rows, 2),
      values: f32(rows),
      ids: i32(rows),
      gatheredValues: f32(parts, rows),
      gatheredIds: i32(parts, rows),
    };
    this.#search = new ThresholdSearch(options);
    this.#logprobs = new LogprobCollector(options);
  }

  /**
   * Draws a token for each row that asks for one ({@linkcode tokens}) and returns the
   * log-probabilities that were asked for, null for the other rows. Every tensor-parallel rank calls
   * it with the same rows; only rank 0 gets log-probabilities.
   */
  sample(rows: readonly SampleRow[]): readonly (RowLogprobs | null)[] {
    if (rows.length > this.#maxRows) {
      throw new RangeError(`Cannot sample ${rows.length} rows at once: limit is ${this.#maxRows}`);
    }
    const truncated = rows.some(({ sampling }) => sampling && isTruncated(sampling));
    const wantsLogprobs = rows.some((row) => row.logprobs !== null);
    if (truncated || wantsLogprobs) this.#reduceStats(rows.length);
    this.#writeParameters(rows);
    if (truncated) this.#truncate(rows);
    this.#draw(rows.length);
    if (!wantsLogprobs) return rows.map(() => null);
    return this.#logprobs.collect(rows, { tokens: this.tokens, stats: this.#host.stats });
  }

  /** Maximum and sum of exponentials of every row, over the whole vocabulary. */
  #reduceStats(rows: number): void {
    const { device, tensorParallel, vocab, logits } = this.#options;
    const { stats, gatheredStats } = this.#device;
    const { paddedCount: size, blockSize } = vocab;
    device.logSumExp(stats, logits, rows, { size, blockSize });
    if (tensorParallel.size > 1) {
      tensorParallel.allGather(gatheredStats.address, stats.address, rows * 2);
      device.mergeLogSumExp(stats, gatheredStats, rows, tensorParallel.size);
    }
    stats.download(this.#host.stats.subarray(0, rows * 2));
  }

  #writeParameters(rows: readonly SampleRow[]): void {
    const host = this.#host;
    rows.forEach(({ sampling, position }, row) => {
      host.temperatures[row] = sampling && sampling.topK !== 1 ? sampling.temperature : 0;
      host.seeds[2 * row] = sampling?.seedLow ?? 0;
      host.seeds[2 * row + 1] = sampling?.seedHigh ?? 0;
      host.choices[row] = sampling?.choice ?? 0;
      host.positions[row] = position;
      host.thresholds[row] = -Infinity;
    });
    const count = rows.length;
    const { temperatures, seeds, choices, positions, thresholds } = this.#device;
    temperatures.upload(host.temperatures.subarray(0, count));
    seeds.upload(host.seeds.subarray(0, 2 * count));
    choices.upload(host.choices.subarray(0, count));
    positions.upload(host.positions.subarray(0, count));
    thresholds.upload(host.thresholds.subarray(0, count));
  }

  #truncate(rows: readonly SampleRow[]): void {
    const { stats, thresholds, temperatures } = this.#host;
    rows.forEach(({ sampling }, row) => {
      if (sampling && isTruncated(sampling) && sampling.minP > 0) {
        // p >= minP * pMax, with p proportional to exp(logit / temperature).
        thresholds[row] = stats[2 * row] + temperatures[row] * Math.log(sampling.minP);
      }
    });
    this.#search.run(rows, {
      thresholds,
      thresholdTensor: this.#device.thresholds,
      stats,
      temperatureTensor: this.#device.temperatures,
    });
  }

  #draw(rows: number): void {
    const { device, tensorParallel, vocab, logits } = this.#options;
    const { temperatures, seeds, choices, positions, thresholds } = this.#device;
    const { values, ids, gatheredValues, gatheredIds } = this.#device;
    device.gumbelArgmax(values, ids, logits, rows, {
      temperatures,
      seeds,
      choices,
      positions,
      thresholds,
      size: vocab.paddedCount,
      firstId: vocab.firstId,
    });
    const parts = tensorParallel.size;
    if (parts === 1) {
      ids.download(this.tokens.subarray(0, rows));
      return;
    }
    tensorParallel.allGather(gatheredValues.address, values.address, rows);
    tensorParallel.allGather(gatheredIds.address, ids.address, rows, { dtype: "i32" });
    const host = this.#host;
    gatheredValues.download(host.values.subarray(0, rows * parts));
    gatheredIds.download(host.ids.subarray(0, rows * parts));
    for (let row = 0; row < rows; row++) {
      let best = row;
      // Ranks hold ascending ids, so a later rank wins only when it is strictly better.
      for (let part = 1; part < parts; part++) {
        if (host.values[part * rows + row] > host.values[best]) best = part * rows + row;
      }
      this.tokens[row] = host.ids[best];
    }
  }

  /** Frees the buffers. */
  [Symbol.dispose](): void {
    for (const tensor of Object.values(this.#device)) tensor[Symbol.dispose]();
    this.#search[Symbol.dispose]();
    this.#logprobs[Symbol.dispose]();
  }
}
