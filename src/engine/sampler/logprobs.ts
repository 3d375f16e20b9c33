/**
 * Log-probabilities of drawn and given tokens, and of the most likely ones beside them.
 * @module
 */
import { Tensor } from "../../tensor/tensor.ts";
import { type SamplerOptions, type SamplingWork, topsAtOnce } from "./sample_row.ts";
import type { SamplingParameters } from "./sampling_parameters.ts";
import type { SamplingResults } from "./sampling_results.ts";

/**
 * Gathers what log-probabilities need from the ranks that share a vocabulary. A few tops of each row
 * are found on the device; for more of them, up to the whole vocabulary, the logits themselves are
 * gathered and ranked on the host.
 */
export class LogprobCollector implements Disposable {
  readonly #options: SamplerOptions;
  readonly #results: SamplingResults;
  readonly #tops: Tensor | null;
  #gathered: Tensor | null = null;

  /** Allocates what most requests need; results go into `results`. */
  constructor(options: SamplerOptions, results: SamplingResults) {
    const { device, tensorParallel, logits, vocab } = options;
    this.#options = options;
    this.#results = results;
    this.#tops = tensorParallel.size === 1
      ? null
      : Tensor.allocate(device, { shape: [2 * logits.shape[0] * topsAtOnce(vocab)], dtype: "i32" });
  }

  /** Allocates what `work` needs beyond that: logits of several ranks, or such as are masked afterwards. */
  prepare({ logprobs, masked }: SamplingWork): void {
    const { device, tensorParallel, logits, vocab } = this.#options;
    if (!logprobs?.whole || (tensorParallel.size === 1 && !masked)) return;
    this.#gathered ??= Tensor.allocate(device, {
      shape: [tensorParallel.size, logits.shape[0], vocab.paddedCount],
    });
  }

  /** Finds tops on the device, before logits are adjusted for the draw; device work only. */
  findTops({ rows, logprobs }: SamplingWork): void {
    if (!logprobs) return;
    const { tensorParallel, vocab, logits } = this.#options;
    if (logprobs.top > 0) this.#findTops(rows, logprobs.top);
    if (this.#gathered && logprobs.whole) {
      tensorParallel.allGather(this.#gathered.address, logits.address, rows * vocab.paddedCount);
    }
  }

  /** Finds the logits of targets, once the tokens are drawn and the logits are their own; device work only. */
  findTargets({ rows, logprobs }: SamplingWork, parameters: SamplingParameters): void {
    if (!logprobs) return;
    const { device, tensorParallel, vocab, logits } = this.#options;
    const targets = parameters.targets.tensor;
    const { tokens, targetLogits } = this.#results;
    device.gatherTokens(targets, tokens, parameters.targetSources.tensor, rows);
    device.gatherLogits(targetLogits, logits, targets, rows, {
      size: vocab.paddedCount,
      firstId: vocab.firstId,
    });
    if (tensorParallel.size > 1) {
      tensorParallel.allReduce(targetLogits.address, rows, { op: "max" });
    }
  }

  #findTops(rows: number, k: number): void {
    const { device, tensorParallel, vocab, logits } = this.#options;
    const shape = [rows * k];
    const local = this.#tops ?? this.#results.tops;
    const values = Tensor.view(device, local.address, { shape });
    const ids = Tensor.view(device, local.address + BigInt(4 * rows * k), { shape, dtype: "i32" });
    device.topK(values, ids, logits, rows, {
      size: vocab.paddedCount,
      k,
      firstId: vocab.firstId,
    });
    if (this.#tops) {
      const { address } = this.#results.tops;
      tensorParallel.allGather(address, this.#tops.address, 2 * rows * k, { dtype: "i32" });
    }
  }

  /** The logits of `rows` rows as the ranks hold them, `[parts, rows, paddedCount]`; waits for them. */
  downloadWhole(rows: number): Float32Array<ArrayBuffer> {
    const { device, tensorParallel, vocab, logits } = this.#options;
    const whole = new Float32Array(tensorParallel.size * rows * vocab.paddedCount);
    device.download(whole, (this.#gathered ?? logits).address);
    return whole;
  }

  /** Frees the buffers. */
  [Symbol.dispose](): void {
    this.#tops?.[Symbol.dispose]();
    this.#gathered?.[Symbol.dispose]();
  }
}
