/**
 * What linear layers that are divided over ranks share: the layer in the checkpoint, and the rows of it
 * that one rank computes.
 * @module
 */
import type { LinearWeight, WeightPart } from "../tensor/linear_kernels.ts";
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

/** A weight stacked of row slices, with its bias: what a column-parallel layer computes on one rank. */
export class LocalLinear implements Disposable {
  readonly #context: LayerContext;
  readonly #weight: LinearWeight;
  readonly #options: { readonly bias?: Tensor; readonly activation?: "gelu" };

  private constructor(
    context: LayerContext,
    weight: LinearWeight,
    options: { readonly bias?: Tensor; readonly activation?: "gelu" },
  ) {
    this.#context = context;
    this.#weight = weight;
    this.#options = options;
  }

  /** Reads and stacks `slices`, in their order. */
  static stack(context: LayerContext, slices: readonly RowSlice[]): LocalLinear {
    const parts = slices.map(({ config, start, count }) =>
      weightPart(context, config, { firstRow: start, rows: count })
    );
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
    const weight = loadLinear(context, parts, { quantization });
    return new LocalLinear(context, weight, { bias, activation });
  }

  /** `out` `[rows, sum of the slices]`, `x` `[rows, inFeatures]`. */
  forward(out: Tensor, x: Tensor, rows: number): void {
    this.#context.device.linear(out, x, this.#weight, rows, this.#options);
  }

  /**
   * `out` `[rows, size]` `= silu(gate) * up`, where the slices are gate and up, `size` rows each;
   * `scratch` `[rows, 2 * size]`.
   */
  forwardGated(out: Tensor, x: Tensor, rows: number, scratch: Tensor): void {
    const { bias } = this.#options;
    this.#context.device.gatedLinear(out, x, this.#weight, rows, { bias, scratch });
  }

  /** Frees weight and bias. */
  [Symbol.dispose](): void {
    this.#weight[Symbol.dispose]();
    this.#options.bias?.[Symbol.dispose]();
  }
}
