/**
 * Dense feed-forward layers: column-parallel up, row-parallel down.
 * @module
 */
import type { WeightDType } from "../tensor/dtype.ts";
import { Tensor } from "../tensor/tensor.ts";
import { ColumnParallelLinear, MergedColumnParallelLinear } from "./column_parallel_linear.ts";
import { RowParallelLinear } from "./row_parallel_linear.ts";
import type { LayerContext } from "./weight_source.ts";

/** A feed-forward layer. `out` and `x` are `[rows, hiddenSize]` and may not overlap. */
export interface FeedForward extends Disposable {
  /** `out = mlp(x)`. */
  forward(out: Tensor, x: Tensor, rows: number): void;
}

/** Memory that the feed-forward layers of a rank share: each is allocated by its first user. */
export class FeedForwardBuffers implements Disposable {
  readonly #context: LayerContext;
  readonly #tensors = new Map<string, Tensor>();

  /** Buffers of up to `context.maxRows` rows. */
  constructor(context: LayerContext) {
    this.#context = context;
  }

  /** The buffer `[rows * repeat, width]` called `name`. */
  get(
    name: string,
    options: { width: number; repeat?: number; dtype: WeightDType | "i32" },
  ): Tensor {
    const { width, repeat = 1, dtype } = options;
    const key = `${name} ${width} ${repeat}`;
    let tensor = this.#tensors.get(key);
    if (!tensor) {
      const { device, maxRows } = this.#context;
      tensor = Tensor.allocate(device, { shape: [maxRows * repeat, width], dtype });
      this.#tensors.set(key, tensor);
    }
    return tensor;
  }

  /** Frees all buffers. */
  [Symbol.dispose](): void {
    for (const tensor of this.#tensors.values()) tensor[Symbol.dispose]();
    this.#tensors.clear();
  }
}

/** Describes a feed-forward layer. */
export interface MlpConfig {
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Width between up and down. */
  readonly intermediateSize: number;
  /** Whether the projections have biases. */
  readonly bias: boolean;
}

/**
 * down(silu(gate(x)) * up(x)).
 *
 * Source: Shazeer, "GLU Variants Improve Transformer" (arXiv 2002.05202), SwiGLU.
 */
export class GatedMlp implements FeedForward {
  readonly #gateUp: MergedColumnParallelLinear;
  readonly #down: RowParallelLinear;
  readonly #projected: Tensor;
  readonly #activated: Tensor;

  /** Reads `<gate>`, `<up>` and `<down>`. */
  constructor(
    context: LayerContext,
    config: MlpConfig & { readonly gate: string; readonly up: string; readonly down: string },
    buffers: FeedForwardBuffers,
  ) {
    const { hiddenSize, intermediateSize, bias } = config;
    const input = { inFeatures: hiddenSize, outFeatures: intermediateSize, bias };
    this.#gateUp = new MergedColumnParallelLinear(context, [
      { name: config.gate, ...input },
      { name: config.up, ...input },
    ]);
    this.#down = new RowParallelLinear(context, {
      name: config.down,
      inFeatures: intermediateSize,
      outFeatures: hiddenSize,
      bias,
    });
    const { activationDtype: dtype = "f32" } = context;
    this.#projected = buffers.get("gateUp", { width: this.#gateUp.outFeatures, dtype });
    this.#activated = buffers.get("activated", { width: this.#down.shard.count, dtype });
  }

  /** See {@linkcode FeedForward.forward}. */
  forward(out: Tensor, x: Tensor, rows: number): void {
    this.#gateUp.forwardGated(this.#activated, x, rows, this.#projected);
    this.#down.forward(out, this.#activated, rows);
  }

  /** Frees the weights. */
  [Symbol.dispose](): void {
    this.#gateUp[Symbol.dispose]();
    this.#down[Symbol.dispose]();
  }
}

/** down(gelu(up(x))), the feed-forward layer of GPT-2. */
export class Mlp implements FeedForward {
  readonly #up: ColumnParallelLinear;
  readonly #down: RowParallelLinear;
  readonly #projected: Tensor;

  /** Reads `<up>` and `<down>`. */
  constructor(
    context: LayerContext,
    config: MlpConfig & {
      readonly up: string;
      readonly down: string;
      readonly transposed: boolean;
    },
    buffers: FeedForwardBuffers,
  ) {
    const { hiddenSize, intermediateSize, bias, transposed } = config;
    this.#up = new ColumnParallelLinear(context, {
      name: config.up,
      inFeatures: hiddenSize,
      outFeatures: intermediateSize,
      bias,
      transposed,
      activation: "gelu",
    });
    this.#down = new RowParallelLinear(context, {
      name: config.down,
      inFeatures: intermediateSize,
      outFeatures: hiddenSize,
      bias,
      transposed,
    });
    const { activationDtype: dtype = "f32" } = context;
    this.#projected = buffers.get("up", { width: this.#up.outFeatures, dtype });
  }

  /** See {@linkcode FeedForward.forward}. */
  forward(out: Tensor, x: Tensor, rows: number): void {
    this.#up.forward(this.#projected, x, rows);
    this.#down.forward(out, this.#projected, rows);
  }

  /** Frees the weights. */
  [Symbol.dispose](): void {
    this.#up[Symbol.dispose]();
    this.#down[Symbol.dispose]();
  }
}
