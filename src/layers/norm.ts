/**
 * Normalisation layers. Each can first add its input to the residual stream, which saves a pass.
 * @module
 */
import type { Tensor } from "../tensor/tensor.ts";
import type { Device } from "../tensor/device.ts";
import type { NormOptions } from "../tensor/norm_kernels.ts";
import { type LayerContext, loadVector, vectorSlice } from "./weight_source.ts";

/** Describes a norm of the checkpoint. */
export interface NormConfig {
  /** Prefix of the tensors: `<name>.weight` (and `<name>.bias`). */
  readonly name: string;
  /** Elements of a row. */
  readonly size: number;
  /** Added to the mean square or variance. */
  readonly epsilon: number;
}

/** A normalisation over rows. */
export interface Norm extends Disposable {
  /**
   * `out = norm(x)`; with `residual`, `residual += x` first and then `out = norm(residual)`. All are
   * `[rows, size]`.
   */
  forward(out: Tensor, x: Tensor, rows: number, residual?: Tensor): void;
}

/**
 * y = x / sqrt(mean(x^2) + epsilon) * weight.
 *
 * Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (arXiv 1910.07467).
 */
export class RmsNorm implements Norm {
  readonly #device: Device;
  /** f32 `[size]`. */
  readonly weight: Tensor;
  readonly #options: KeptNormOptions;

  /** Reads `<name>.weight`; it is whole on every rank. */
  constructor(context: LayerContext, config: NormConfig) {
    this.#device = context.device;
    this.#options = new KeptNormOptions(config.epsilon);
    this.weight = normVector(context, `${config.name}.weight`, config.size);
  }

  /** See {@linkcode Norm.forward}. */
  forward(out: Tensor, x: Tensor, rows: number, residual?: Tensor): void {
    this.#device.rmsNorm(out, x, this.weight, rows, this.#options.with(residual));
  }

  /** Frees the weight. */
  [Symbol.dispose](): void {
    this.weight[Symbol.dispose]();
  }
}

/**
 * y = (x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias.
 *
 * Source: Ba, Kiros and Hinton, "Layer Normalization" (arXiv 1607.06450).
 */
export class LayerNorm implements Norm {
  readonly #device: Device;
  readonly #weight: Tensor;
  readonly #bias: Tensor;
  readonly #options: KeptNormOptions;

  /** Reads `<name>.weight` and `<name>.bias`; they are whole on every rank. */
  constructor(context: LayerContext, config: NormConfig) {
    this.#device = context.device;
    this.#options = new KeptNormOptions(config.epsilon);
    this.#weight = normVector(context, `${config.name}.weight`, config.size);
    this.#bias = normVector(context, `${config.name}.bias`, config.size);
  }

  /** See {@linkcode Norm.forward}. */
  forward(out: Tensor, x: Tensor, rows: number, residual?: Tensor): void {
    const options = this.#options.with(residual);
    this.#device.layerNorm(out, x, this.#weight, this.#bias, rows, options);
  }

  /** Frees the weights. */
  [Symbol.dispose](): void {
    this.#weight[Symbol.dispose]();
    this.#bias[Symbol.dispose]();
  }
}

/** A kernel's options: a norm has the same residual stream in every step. */
class KeptNormOptions {
  #options: NormOptions;

  constructor(epsilon: number) {
    this.#options = { epsilon };
  }

  with(residual: Tensor | undefined): NormOptions {
    if (this.#options.residual !== residual) this.#options = { ...this.#options, residual };
    return this.#options;
  }
}

function normVector(context: LayerContext, name: string, size: number): Tensor {
  return loadVector(context, [vectorSlice(context.weights.tensor(name, [size]), 0, size)]);
}
