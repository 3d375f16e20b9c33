/**
 * What linear layers that are divided over ranks share: the layer in the checkpoint, and the rows of it
 * that one rank computes.
 * @module
 */
import {
  type GatedLinearOptions,
  isQuantized,
  type LinearWeight,
  type WeightPart,
} from "../tensor/linear_kernels.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  type HostTensor,
  type LayerContext,
  loadLinear,
  loadVector,
  matrixSlice,
  vectorSlice,
  type WeightSlice,
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
  /** Applied to the output. */
  readonly activation?: "gelu";
}

/** A slice of the layer's stored weight, dense or quantised. */
export function weightPart(
  context: LayerContext,
  config: LinearConfig,
  slice: WeightSlice,
): WeightPart {
  const { name, inFeatures, outFeatures, transposed } = config;
  const quantized = context.weights.quantized?.(name, { inFeatures, outFeatures, transposed });
  // Quantised formats have one orientation for every layer.
  if (quantized) return { ...quantized, ...slice };
  const shape = transposed ? [inFeatures, outFeatures] : [outFeatures, inFeatures];
  return matrixSlice(context.weights.tensor(`${name}.weight`, shape), slice, { transposed });
}

/** The layer's stored bias. */
export function biasTensor(context: LayerContext, config: LinearConfig): HostTensor {
  return context.weights.tensor(`${config.name}.bias`, [config.outFeatures]);
}

/** Rows of a layer's weight. */
export interface RowSlice {
  /** The layer. */
  readonly config: LinearConfig;
  /** First row. */
  readonly start: number;
  /** Number of rows. */
  readonly count: number;
}

/** Rows that are one weight. */
interface Piece {
  /** First column of the output. */
  readonly start: number;
  readonly weight: LinearWeight;
  readonly options: { readonly bias?: Tensor; readonly activation?: "gelu" };
}

/**
 * Weights stacked of row slices, with their bias: what a column-parallel layer computes on one rank. They
 * are one weight, unless a checkpoint has some of the layers quantised and some not.
 */
export class LocalLinear implements Disposable {
  readonly #context: LayerContext;
  readonly #pieces: readonly Piece[];
  readonly #bias: Tensor | undefined;
  readonly #outFeatures: number;
  // The same outputs and scratch memory arrive with every step: what follows from them is made once.
  readonly #views = new WeakMap<Tensor, readonly Tensor[]>();
  #gated: GatedLinearOptions | null = null;

  private constructor(context: LayerContext, pieces: readonly Piece[], bias: Tensor | undefined) {
    this.#context = context;
    this.#pieces = pieces;
    this.#bias = bias;
    this.#outFeatures = pieces.reduce((sum, { weight }) => sum + weight.outFeatures, 0);
  }

  /** Reads and stacks `slices`, in their order. */
  static stack(context: LayerContext, slices: readonly RowSlice[]): LocalLinear {
    const bias = slices[0].config.bias
      ? loadVector(
        context,
        slices.map((slice) =>
          vectorSlice(biasTensor(context, slice.config), slice.start, slice.count)
        ),
      )
      : undefined;
    const { activation } = slices[0].config;
    const { quantization } = context;
    const parts = slices.map(({ config, start, count }) =>
      weightPart(context, config, { firstRow: start, rows: count })
    );
    let start = 0;
    const pieces = runsOf(parts, isQuantized).map((run): Piece => {
      const weight = loadLinear(context, run, { quantization });
      const own = bias && run.length < parts.length
        ? bias.columns(start, weight.outFeatures)
        : bias;
      const piece = { start, weight, options: { bias: own, activation } };
      start += weight.outFeatures;
      return piece;
    });
    return new LocalLinear(context, pieces, bias);
  }

  /** `out` `[rows, sum of the slices]`, `x` `[rows, inFeatures]`. */
  forward(out: Tensor, x: Tensor, rows: number): void {
    const { device } = this.#context;
    const pieces = this.#pieces;
    const views = this.#viewsOf(out);
    for (let i = 0; i < pieces.length; i++) {
      device.linear(views[i], x, pieces[i].weight, rows, pieces[i].options);
    }
  }

  /**
   * `out` `[rows, size]` `= silu(gate) * up`, where the slices are gate and up, `size` rows each;
   * `scratch` `[rows, 2 * size]`.
   */
  forwardGated(out: Tensor, x: Tensor, rows: number, scratch: Tensor): void {
    const { device } = this.#context;
    if (this.#pieces.length === 1) {
      const { weight } = this.#pieces[0];
      return device.gatedLinear(out, x, weight, rows, this.#gatedOptions(scratch));
    }
    this.forward(scratch, x, rows);
    device.siluAndMul(out, scratch, rows, this.#outFeatures / 2);
  }

  #gatedOptions(scratch: Tensor): GatedLinearOptions {
    if (this.#gated?.scratch !== scratch) {
      this.#gated = { bias: this.#pieces[0].options.bias, scratch };
    }
    return this.#gated;
  }

  #viewsOf(out: Tensor): readonly Tensor[] {
    let views = this.#views.get(out);
    if (!views) {
      views = this.#pieces.length === 1
        ? [out]
        : this.#pieces.map(({ start, weight }) => out.columns(start, weight.outFeatures));
      this.#views.set(out, views);
    }
    return views;
  }

  /** Frees weights and bias. */
  [Symbol.dispose](): void {
    for (const { weight } of this.#pieces) weight[Symbol.dispose]();
    this.#bias?.[Symbol.dispose]();
  }
}

/** Consecutive items of which `kind` says the same. */
function runsOf<T>(items: readonly T[], kind: (item: T) => boolean): T[][] {
  const runs: T[][] = [];
  for (const item of items) {
    const last = runs.at(-1);
    if (last && kind(last[0]) === kind(item)) last.push(item);
    else runs.push([item]);
  }
  return runs;
}
