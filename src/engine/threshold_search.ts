/**
 * Finds the logit at which top-k and top-p cut, without sorting and without gathering the logits.
 * @module
 */
import { fromOrderedKey } from "../tensor/ordered_key.ts";
import { Tensor } from "../tensor/tensor.ts";
import { isTruncated, type SamplerOptions, type SampleRow } from "./sample_row.ts";

const BINS = 256;
const ROUNDS = 4;
const MODE_SKIP = 0;
const MODE_COUNT = 1;
const MODE_MASS = 2;

/** What the search reads and writes. */
export interface ThresholdState {
  /** Lowest logit that takes part, per row; the search raises it. */
  readonly thresholds: Float32Array;
  /** The same on the device. */
  readonly thresholdTensor: Tensor;
  /** Maximum logit of row r at `2 * r`. */
  readonly stats: Float32Array;
  /** Temperatures on the device. */
  readonly temperatureTensor: Tensor;
}

/**
 * A radix search over the order-preserving integer form of the logits, 8 bits a round: a histogram of
 * counts (top-k) or integer probability masses (top-p) is summed over the ranks, and the bin in which
 * the target is reached is opened in the next round. The sums are integers, exact in any order.
 */
export class ThresholdSearch implements Disposable {
  readonly #options: SamplerOptions;
  readonly #histogram: Tensor;
  readonly #modes: Tensor;
  readonly #prefixes: Tensor;
  readonly #maxima: Tensor;
  readonly #host: {
    readonly histogram: Float64Array;
    readonly modes: Int32Array;
    readonly prefixes: Int32Array;
    readonly maxima: Float32Array;
  };

  /** Allocates histograms for the largest batch of rows. */
  constructor(options: SamplerOptions) {
    const { device, logits } = options;
    const rows = logits.shape[0];
    this.#options = options;
    this.#histogram = Tensor.allocate(device, { shape: [rows, BINS], dtype: "f64" });
    this.#modes = Tensor.allocate(device, { shape: [rows], dtype: "i32" });
    this.#prefixes = Tensor.allocate(device, { shape: [rows], dtype: "i32" });
    this.#maxima = Tensor.allocate(device, { shape: [rows] });
    this.#host = {
      histogram: new Float64Array(rows * BINS),
      modes: new Int32Array(rows),
      prefixes: new Int32Array(rows),
      maxima: new Float32Array(rows),
    };
  }

  /** Raises the thresholds to where top-k, then top-p of what is left, cut. */
  run(rows: readonly SampleRow[], state: ThresholdState): void {
    rows.forEach((_, row) => this.#host.maxima[row] = state.stats[2 * row]);
    this.#maxima.upload(this.#host.maxima.subarray(0, rows.length));
    state.thresholdTensor.upload(state.thresholds.subarray(0, rows.length));
    this.#raise(rows, state, MODE_COUNT);
    this.#raise(rows, state, MODE_MASS);
  }

  #raise(rows: readonly SampleRow[], state: ThresholdState, mode: number): void {
    const { modes, prefixes, histogram } = this.#host;
    const share = rows.map(({ sampling }) => {
      if (!sampling || !isTruncated(sampling)) return null;
      if (mode === MODE_COUNT) return sampling.topK > 0 ? sampling.topK : null;
      return sampling.topP < 1 ? sampling.topP : null;
    });
    if (share.every((value) => value === null)) return;
    share.forEach((value, row) => {
      modes[row] = value === null ? MODE_SKIP : mode;
      prefixes[row] = 0;
    });
    const targets = new Float64Array(rows.length);
    const above = new Float64Array(rows.length);
    for (let round = 0; round < ROUNDS; round++) {
      this.#fillHistogram(rows.length, round, state);
      share.forEach((value, row) => {
        if (value === null) return;
        const bins = histogram.subarray(row * BINS, (row + 1) * BINS);
        if (round === 0) {
          // Asking for more tokens than take part keeps them all.
          const total = bins.reduce((sum, bin) => sum + bin, 0);
          targets[row] = mode === MODE_COUNT ? Math.min(value, total) : value * total;
        }
        let bin = BINS - 1;
        while (bin > 0 && above[row] + bins[bin] < targets[row]) above[row] += bins[bin--];
        prefixes[row] |= bin << (24 - 8 * round);
      });
    }
    share.forEach((value, row) => {
      if (value === null) return;
      const cut = fromOrderedKey(prefixes[row] >>> 0);
      if (cut > state.thresholds[row]) state.thresholds[row] = cut;
    });
    state.thresholdTensor.upload(state.thresholds.subarray(0, rows.length));
  }

  #fillHistogram(rows: number, round: number, state: ThresholdState): void {
    const { device, tensorParallel, vocab, logits } = this.#options;
    const { modes, prefixes, histogram } = this.#host;
    this.#modes.upload(modes.subarray(0, rows));
    this.#prefixes.upload(prefixes.subarray(0, rows));
    device.logitHistogram(this.#histogram, logits, rows, {
      size: vocab.paddedCount,
      round,
      modes: this.#modes,
      prefixes: this.#prefixes,
      thresholds: state.thresholdTensor,
      maxima: this.#maxima,
      temperatures: state.temperatureTensor,
    });
    if (tensorParallel.size > 1) {
      tensorParallel.allReduce(this.#histogram.address, rows * BINS, { dtype: "f64" });
    }
    this.#histogram.download(histogram.subarray(0, rows * BINS));
  }

  /** Frees the buffers. */
  [Symbol.dispose](): void {
    for (const tensor of [this.#histogram, this.#modes, this.#prefixes, this.#maxima]) {
      tensor[Symbol.dispose]();
    }
  }
}
