/**
 * Finds the logit at which top-k and top-p cut, without sorting and without gathering the logits.
 * @module
 */
import type { ThresholdRound } from "../../tensor/sampling_kernels.ts";
import { Tensor } from "../../tensor/tensor.ts";
import type { SamplerOptions } from "./sample_row.ts";

const BINS = 256;
const ROUNDS = 4;

/** What a search works on. */
export interface ThresholdTarget {
  /** What is added up. */
  readonly kind: ThresholdRound["kind"];
  /** f64 `[rows]`: tokens or share of the mass to keep; 0 keeps all. */
  readonly shares: Tensor;
  /** f32 `[rows]`: lowest logit that takes part; the search raises it. */
  readonly thresholds: Tensor;
  /** f32 `[rows, 2]`: the maximum of each row, and another number. */
  readonly stats: Tensor;
  /** f32 `[rows]`. */
  readonly temperatures: Tensor;
}

/**
 * A radix search over the order-preserving integer form of the logits, 8 bits a round: a histogram of
 * counts (top-k) or integer probability masses (top-p) is summed over the ranks, and the bin in which
 * the target is reached is opened in the next round. The sums are integers, exact in any order.
 */
export class ThresholdSearch implements Disposable {
  readonly #options: SamplerOptions;
  readonly #histogram: Tensor;
  readonly #prefixes: Tensor;
  readonly #targets: Tensor;
  readonly #above: Tensor;

  /** Allocates histograms for the largest batch of rows. */
  constructor(options: SamplerOptions) {
    const { device, logits } = options;
    const rows = logits.shape[0];
    this.#options = options;
    this.#histogram = Tensor.allocate(device, { shape: [rows, BINS], dtype: "f64" });
    this.#prefixes = Tensor.allocate(device, { shape: [rows], dtype: "i32" });
    this.#targets = Tensor.allocate(device, { shape: [rows], dtype: "f64" });
    this.#above = Tensor.allocate(device, { shape: [rows], dtype: "f64" });
  }

  /** Raises the thresholds to where the shares are reached; device work only. */
  raise(rows: number, target: ThresholdTarget): void {
    const { device, tensorParallel, vocab, logits } = this.#options;
    const { kind, shares, thresholds, stats, temperatures } = target;
    const histogram = this.#histogram;
    for (let round = 0; round < ROUNDS; round++) {
      const search = { round, kind, shares, prefixes: this.#prefixes };
      device.logitHistogram(histogram, logits, rows, {
        ...search,
        size: vocab.paddedCount,
        thresholds,
        stats,
        temperatures,
      });
      if (tensorParallel.size > 1) {
        tensorParallel.allReduce(histogram.address, rows * BINS, { dtype: "f64" });
      }
      device.narrowThresholds(thresholds, histogram, rows, {
        ...search,
        targets: this.#targets,
        above: this.#above,
      });
    }
  }

  /** Frees the buffers. */
  [Symbol.dispose](): void {
    for (const tensor of [this.#histogram, this.#prefixes, this.#targets, this.#above]) {
      tensor[Symbol.dispose]();
    }
  }
}
