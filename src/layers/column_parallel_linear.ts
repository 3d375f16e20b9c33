/**
 * Linear layers whose output features are divided over tensor-parallel ranks.
 *
 * Source: Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model
 * Parallelism" (arXiv 1909.08053), section 3.
 * @module
 */
import { Tensor } from "../tensor/tensor.ts";
import { type LinearConfig, LocalLinear } from "./local_linear.ts";
import { partition, type Shard } from "./partition.ts";
import type { LayerContext } from "./weight_source.ts";

/**
 * Y = XA + b with A = [A_1 .. A_p] cut by columns (rows of the stored weight): rank i computes XA_i.
 * X is whole on every rank; Y stays divided unless `gatherOutput`.
 *
 * @example
 * ```ts
 * import { ColumnParallelLinear, MemoryWeights, openDevice, SingleRankCommunicator, Tensor } from "@weft/weft";
 * using device = openDevice({ kind: "cpu" });
 * using layer = new ColumnParallelLinear({
 *   device,
 *   tensorParallel: new SingleRankCommunicator(),
 *   weights: new MemoryWeights({ "up.weight": { shape: [2, 1], data: new Float32Array([2, 3]) } }),
 *   format: null,
 *   maxRows: 1,
 * }, { name: "up", inFeatures: 1, outFeatures: 2 });
 * using x = Tensor.allocate(device, { shape: [1, 1] });
 * using y = Tensor.allocate(device, { shape: [1, 2] });
 * x.upload(new Float32Array([5]));
 * layer.forward(y, x, 1);
 * console.log(y.download(new Float32Array(2))); // [10, 15]
 * ```
 */
export class ColumnParallelLinear implements Disposable {
  /** Output features of this rank. */
  readonly shard: Shard;
  /** Columns that `forward` writes. */
  readonly outFeatures: number;
  readonly #linear: LocalLinear;
  readonly #gather: OutputGather | null;

  /** Reads `<name>.weight` (and bias): rows of this rank. */
  constructor(context: LayerContext, config: LinearConfig & { readonly gatherOutput?: boolean }) {
    const { rank, size: parts } = context.tensorParallel;
    this.shard = partition(config.outFeatures, { rank, parts });
    this.#linear = LocalLinear.stack(context, [{ config, ...this.shard }]);
    this.#gather = config.gatherOutput && parts > 1
      ? new OutputGather(context, config.outFeatures)
      : null;
    this.outFeatures = this.#gather ? config.outFeatures : this.shard.count;
  }

  /** `out` `[rows, outFeatures]`, `x` `[rows, inFeatures]`. */
  forward(out: Tensor, x: Tensor, rows: number): void {
    if (!this.#gather) return this.#linear.forward(out, x, rows);
    this.#linear.forward(this.#gather.local, x, rows);
    this.#gather.run(out, rows);
  }

  /** Frees the weight. */
  [Symbol.dispose](): void {
    this.#gather?.[Symbol.dispose]();
    this.#linear[Symbol.dispose]();
  }
}

/**
 * Several column-parallel layers of the same input, computed as one: Y = [XA, XB, ..], each divided
 * over the ranks, so that rank i holds [XA_i, XB_i, ..] (gate and up projections).
 */
export class MergedColumnParallelLinear implements Disposable {
  /** Columns that `forward` writes: the shards of all layers side by side. */
  readonly outFeatures: number;
  /** Shard of each layer. */
  readonly shards: readonly Shard[];
  readonly #linear: LocalLinear;

  /** Reads this rank's rows of each layer. */
  constructor(context: LayerContext, configs: readonly LinearConfig[]) {
    const { rank, size: parts } = context.tensorParallel;
    this.shards = configs.map((config) => partition(config.outFeatures, { rank, parts }));
    this.outFeatures = this.shards.reduce((sum, shard) => sum + shard.count, 0);
    this.#linear = LocalLinear.stack(
      context,
      configs.map((config, i) => ({ config, ...this.shards[i] })),
    );
  }

  /** `out` `[rows, outFeatures]`, `x` `[rows, inFeatures]`. */
  forward(out: Tensor, x: Tensor, rows: number): void {
    this.#linear.forward(out, x, rows);
  }

  /**
   * For a gate and an up projection: `out` `[rows, shard.count]` `= silu(gate) * up`; `scratch`
   * `[rows, outFeatures]`.
   */
  forwardGated(out: Tensor, x: Tensor, rows: number, scratch: Tensor): void {
    this.#linear.forwardGated(out, x, rows, scratch);
  }

  /** Frees the weights. */
  [Symbol.dispose](): void {
    this.#linear[Symbol.dispose]();
  }
}

/** Collects the column shards of every rank into whole rows. */
class OutputGather implements Disposable {
  /** Where the local product goes: `[maxRows, widest shard]`, of which this rank's columns are used. */
  readonly local: Tensor;
  readonly #buffer: Tensor;
  readonly #gathered: Tensor;
  readonly #shards: readonly Shard[];
  readonly #context: LayerContext;

  constructor(context: LayerContext, outFeatures: number) {
    const { rank, size: parts } = context.tensorParallel;
    this.#context = context;
    this.#shards = Array.from(
      { length: parts },
      (_, part) => partition(outFeatures, { rank: part, parts }),
    );
    const width = Math.max(...this.#shards.map((shard) => shard.count));
    this.#buffer = Tensor.allocate(context.device, { shape: [context.maxRows, width] });
    this.#gathered = Tensor.allocate(context.device, { shape: [parts, context.maxRows, width] });
    this.local = this.#buffer.columns(0, this.#shards[rank].count);
  }

  run(out: Tensor, rows: number): void {
    const { device, tensorParallel } = this.#context;
    const width = this.#buffer.rowStride;
    tensorParallel.allGather(this.#gathered.address, this.#buffer.address, rows * width);
    this.#shards.forEach(({ start, count }, part) => {
      for (let row = 0; row < rows; row++) {
        const from = this.#gathered.address + BigInt((part * rows + row) * width * 4);
        const to = out.address + BigInt((row * out.rowStride + start) * 4);
        device.copy(to, from, count * 4);
      }
    });
  }

  [Symbol.dispose](): void {
    this.#buffer[Symbol.dispose]();
    this.#gathered[Symbol.dispose]();
  }
}
