/**
 * The linear layer whose input features are divided over tensor-parallel ranks.
 *
 * Source: Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model
 * Parallelism" (arXiv 1909.08053), section 3.
 * @module
 */
import type { LinearOptions, LinearWeight } from "../tensor/linear_kernels.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { biasTensor, type LinearConfig, weightPart } from "./local_linear.ts";
import { partition, type Shard } from "./partition.ts";
import { type LayerContext, loadLinear, loadVector, vectorSlice } from "./weight_source.ts";

/**
 * Y = XA + b with A cut by rows (columns of the stored weight) and X by columns: rank i computes
 * X_i A_i, the partial products are summed over the ranks, and the bias is added once, after.
 *
 * The sum over input features is taken in fixed blocks and one binary tree that goes on across ranks
 * (NUMERICS.md 1), so Y is the same bits for 1, 2, 4 or 8 ranks.
 */
export class RowParallelLinear implements Disposable {
  /** Input features of this rank. */
  readonly shard: Shard;
  /** Columns of the output, whole on every rank. */
  readonly outFeatures: number;
  readonly #context: LayerContext;
  readonly #weight: LinearWeight;
  readonly #bias: Tensor | null;
  readonly #options: LinearOptions;
  readonly #scatterInput: boolean;

  /**
   * Reads `<name>.weight`: this rank's input features, as `shard` or {@linkcode partition} says. With
   * `scatterInput`, `forward` takes the whole X and uses its own columns of it.
   */
  constructor(
    context: LayerContext,
    config: LinearConfig & { readonly shard?: Shard; readonly scatterInput?: boolean },
  ) {
    const { rank, size: parts } = context.tensorParallel;
    this.#context = context;
    this.shard = config.shard ?? partition(config.inFeatures, { rank, parts });
    this.outFeatures = config.outFeatures;
    this.#scatterInput = config.scatterInput ?? false;
    const { start, count, blockSize } = this.shard;
    const part = weightPart(context, config, { firstColumn: start, columns: count });
    const { quantization } = context;
    this.#weight = loadLinear(context, [part], { blockSize, quantization });
    this.#bias = config.bias
      ? loadVector(context, [vectorSlice(biasTensor(context, config), 0, config.outFeatures)])
      : null;
    this.#options = { bias: parts === 1 ? this.#bias ?? undefined : undefined };
  }

  /** `out` `[rows, outFeatures]` contiguous, `x` `[rows, shard.count]` (whole with `scatterInput`). */
  forward(out: Tensor, x: Tensor, rows: number): void {
    const { device, tensorParallel } = this.#context;
    const { start, count } = this.shard;
    const input = this.#scatterInput ? x.columns(start, count) : x;
    device.linear(out, input, this.#weight, rows, this.#options);
    if (tensorParallel.size === 1) return;
    tensorParallel.allReduce(out.address, rows * this.outFeatures);
    if (this.#bias) device.addBias(out, this.#bias, rows);
  }

  /** Frees the weight. */
  [Symbol.dispose](): void {
    this.#weight[Symbol.dispose]();
    this.#bias?.[Symbol.dispose]();
  }
}
