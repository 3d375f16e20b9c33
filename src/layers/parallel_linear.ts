/**
 * Linear layers whose weight is divided over tensor-parallel ranks.
 *
 * Source: Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model
 * Parallelism" (arXiv 1909.08053), section 3.
 * @module
 */
import type { HostMatrix, LinearWeight } from "../tensor/linear_kernels.ts";
import { Tensor } from "../tensor/tensor.ts";
import { type HeadShard, partition, partitionHeads, type Shard } from "./partition.ts";
import {
  type HostTensor,
  type LayerContext,
  loadLinear,
  loadVector,
  matrixColumns,
  matrixRows,
  transposedSlice,
  vectorSlice,
} from "./weight_source.ts";

/** Describes a linear layer of the checkpoint. */
export interface LinearConfig {
  /** Prefix of the tensors: `<name>.weight` and `<name>.bias`. */
  readonly name: string;
  /** Columns of the whole weight. */
  readonly inFeatures: number;
  /** Rows of the whole weight. */
  readonly outFeatures: number;
  /** Whether there is a bias. */
  readonly bias?: boolean;
  /** Stored as `[inFeatures, outFeatures]` (GPT-2's Conv1D). */
  readonly transposed?: boolean;
}

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
    this.#linear = LocalLinear.columns(context, [{ config, ...this.shard }]);
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
    this.#linear = LocalLinear.columns(
      context,
      configs.map((config, i) => ({ config, ...this.shards[i] })),
    );
  }

  /** `out` `[rows, outFeatures]`, `x` `[rows, inFeatures]`. */
  forward(out: Tensor, x: Tensor, rows: number): void {
    this.#linear.forward(out, x, rows);
  }

  /** Frees the weights. */
  [Symbol.dispose](): void {
    this.#linear[Symbol.dispose]();
  }
}

/** Describes the query, key and value projections of an attention layer. */
export interface QkvConfig {
  /** Names of three layers, or of one whose rows are queries, keys and values in that order. */
  readonly names: readonly [string, string, string] | readonly [string];
  /** Columns of the weights. */
  readonly inFeatures: number;
  /** Query heads of the whole model. */
  readonly numHeads: number;
  /** Key/value heads of the whole model. */
  readonly numKvHeads: number;
  /** Elements per head. */
  readonly headDim: number;
  /** Whether there are biases. */
  readonly bias?: boolean;
  /** Stored as `[inFeatures, outFeatures]`. */
  readonly transposed?: boolean;
}

/**
 * Query, key and value projections as one column-parallel layer: rank i holds its query heads and
 * every key/value head that they read, so key/value heads are replicated where ranks outnumber them.
 */
export class QkvParallelLinear implements Disposable {
  /** Heads of this rank. */
  readonly heads: HeadShard;
  /** Columns that `forward` writes: queries, then keys, then values. */
  readonly outFeatures: number;
  readonly #linear: LocalLinear;

  /** Reads this rank's heads; throws RangeError when the query heads do not divide. */
  constructor(context: LayerContext, config: QkvConfig) {
    const { rank, size: parts } = context.tensorParallel;
    this.heads = partitionHeads(config, { rank, parts });
    const { numHeads, numKvHeads, headDim, names } = config;
    const queries = { start: this.heads.firstHead, count: this.heads.numHeads, of: numHeads };
    const keys = { start: this.heads.firstKvHead, count: this.heads.numKvHeads, of: numKvHeads };
    const sections = [queries, keys, keys];
    const fused = names.length === 1;
    const fusedRows = (numHeads + 2 * numKvHeads) * headDim;
    let firstRow = 0;
    const slices = sections.map((section, i) => {
      const slice = {
        config: {
          name: fused ? names[0] : names[i],
          inFeatures: config.inFeatures,
          outFeatures: fused ? fusedRows : section.of * headDim,
          bias: config.bias,
          transposed: config.transposed,
        },
        start: firstRow + section.start * headDim,
        count: section.count * headDim,
      };
      if (fused) firstRow += section.of * headDim;
      return slice;
    });
    this.outFeatures = slices.reduce((sum, slice) => sum + slice.count, 0);
    this.#linear = LocalLinear.columns(context, slices);
  }

  /** `out` `[rows, outFeatures]`, `x` `[rows, inFeatures]`. */
  forward(out: Tensor, x: Tensor, rows: number): void {
    this.#linear.forward(out, x, rows);
  }

  /** Frees the weights. */
  [Symbol.dispose](): void {
    this.#linear[Symbol.dispose]();
  }
}

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
    const tensor = weightTensor(context, config);
    const { start, count } = this.shard;
    this.#weight = loadLinear(context, [
      config.transposed
        ? transposedSlice(tensor, { firstColumn: start, columns: count })
        : matrixColumns(tensor, start, count),
    ]);
    this.#bias = config.bias
      ? loadVector(context, [vectorSlice(biasTensor(context, config), 0, config.outFeatures)])
      : null;
  }

  /** `out` `[rows, outFeatures]` contiguous, `x` `[rows, shard.count]` (whole with `scatterInput`). */
  forward(out: Tensor, x: Tensor, rows: number): void {
    const { device, tensorParallel } = this.#context;
    const { start, count, blockSize } = this.shard;
    const input = this.#scatterInput ? x.columns(start, count) : x;
    const alone = tensorParallel.size === 1;
    const bias = this.#bias ?? undefined;
    device.linear(out, input, this.#weight, rows, { blockSize, bias: alone ? bias : undefined });
    if (alone) return;
    tensorParallel.allReduce(out.address, rows * this.outFeatures);
    if (bias) device.addBias(out, bias, rows);
  }

  /** Frees the weight. */
  [Symbol.dispose](): void {
    this.#weight[Symbol.dispose]();
    this.#bias?.[Symbol.dispose]();
  }
}

interface RowSlice {
  readonly config: LinearConfig;
  readonly start: number;
  readonly count: number;
}

/** A weight stacked of row slices, with its bias: what a column-parallel layer computes on one rank. */
class LocalLinear implements Disposable {
  readonly #context: LayerContext;
  readonly #weight: LinearWeight;
  readonly #options: { readonly bias?: Tensor };

  private constructor(context: LayerContext, weight: LinearWeight, bias: Tensor | undefined) {
    this.#context = context;
    this.#weight = weight;
    this.#options = { bias };
  }

  static columns(context: LayerContext, slices: readonly RowSlice[]): LocalLinear {
    const parts: HostMatrix[] = slices.map(({ config, start, count }) => {
      const tensor = weightTensor(context, config);
      return config.transposed
        ? transposedSlice(tensor, { firstRow: start, rows: count })
        : matrixRows(tensor, start, count);
    });
    const bias = slices[0].config.bias
      ? loadVector(
        context,
        slices.map((slice) =>
          vectorSlice(biasTensor(context, slice.config), slice.start, slice.count)
        ),
      )
      : undefined;
    return new LocalLinear(context, loadLinear(context, parts), bias);
  }

  forward(out: Tensor, x: Tensor, rows: number): void {
    this.#context.device.linear(out, x, this.#weight, rows, this.#options);
  }

  [Symbol.dispose](): void {
    this.#weight[Symbol.dispose]();
    this.#options.bias?.[Symbol.dispose]();
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

function weightTensor(context: LayerContext, config: LinearConfig): HostTensor {
  const { name, inFeatures, outFeatures, transposed } = config;
  const shape = transposed ? [inFeatures, outFeatures] : [outFeatures, inFeatures];
  return context.weights.tensor(`${name}.weight`, shape);
}

function biasTensor(context: LayerContext, config: LinearConfig): HostTensor {
  return context.weights.tensor(`${config.name}.bias`, [config.outFeatures]);
}
