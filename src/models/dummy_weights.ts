/**
 * Weights of the right shapes without a checkpoint, to measure speed.
 * @module
 */
import type { HostTensor, LinearSize, WeightSource } from "../layers/weight_source.ts";
import type { WeightDType } from "../tensor/dtype.ts";
import type { QuantizedMatrix } from "../tensor/linear_kernels.ts";
import { DummyIntegers } from "./dummy_integers.ts";
import type { ModelConfig } from "./model_config.ts";
import { type ParameterShape, parameterShapes } from "./parameter_shapes.ts";
import { encodeWeights, RandomWeights, type WeightBits } from "./random_weights.ts";

/** Weights that are drawn; twice a prime, so that no row of a matrix is like the one before. */
const PATTERN_LENGTH = 2 * 499_979;

const STANDARD_DEVIATION = 0.02;

/**
 * Random weights for every parameter of a model: norms are 1, all else repeats one pattern of normal
 * variables. All tensors share the memory of the largest, so a model of any size loads at once; its
 * speed is that of real weights, its output means nothing.
 *
 * @example
 * ```ts
 * import { DummyWeights, readModelConfig } from "@weft/weft";
 * const weights = new DummyWeights(readModelConfig("models/demo"));
 * console.log(weights.has("model.norm.weight")); // true
 * ```
 */
export class DummyWeights implements WeightSource {
  readonly #dtype: WeightDType;
  readonly #parameters: ReadonlyMap<string, ParameterShape>;
  readonly #random: WeightBits;
  readonly #ones: WeightBits;
  readonly #integers: DummyIntegers | null;

  /** Weights in the type that the config names. Takes the bytes of the largest tensor. */
  constructor(config: ModelConfig) {
    this.#dtype = config.dtype;
    const parameters = parameterShapes(config);
    this.#integers = config.quantization &&
      new DummyIntegers(config.quantization, { parameters, standardDeviation: STANDARD_DEVIATION });
    this.#parameters = new Map(parameters.map((parameter) => [parameter.name, parameter]));
    const largest = (norms: boolean) =>
      Math.max(
        0,
        ...parameters.filter(({ kind, layer }) =>
          (kind === "norm") === norms && !(layer && this.#integers?.has(layer.name))
        )
          .map(({ shape }) => shape.reduce((product, size) => product * size, 1)),
      );
    const one = encodeWeights(Float64Array.of(1), config.dtype);
    this.#ones = allocate(largest(true), config.dtype).fill(one[0]);
    this.#random = repeatPattern(allocate(largest(false), config.dtype), config.dtype);
  }

  /** Whether the model has the parameter. */
  has(name: string): boolean {
    return this.#parameters.has(name);
  }

  /** The tensor; throws RangeError when the model has none of this name and shape. */
  tensor(name: string, shape: readonly number[]): HostTensor {
    const parameter = this.#parameters.get(name);
    if (!parameter) throw new RangeError(`Cannot make weight ${name} as the model has none`);
    if (parameter.shape.join() !== shape.join()) {
      throw new RangeError(
        `Cannot make ${name} as [${shape}]: the model has it as [${parameter.shape}]`,
      );
    }
    const bits = parameter.kind === "norm" ? this.#ones : this.#random;
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(bits));
    return { address, dtype: this.#dtype, shape };
  }

  /** The weight of a linear layer, where the config announces it quantised. */
  quantized(name: string, size: LinearSize): QuantizedMatrix | null {
    return this.#integers?.has(name) ? this.#integers.matrix({ name, ...size }) : null;
  }
}

function allocate(length: number, dtype: WeightDType): WeightBits {
  return dtype === "f32" ? new Uint32Array(length) : new Uint16Array(length);
}

function repeatPattern(bits: WeightBits, dtype: WeightDType): WeightBits {
  const pattern = allocate(PATTERN_LENGTH, dtype);
  new RandomWeights(dtype, { seed: 0n, standardDeviation: STANDARD_DEVIATION })
    .stream("dummy")
    .fill(pattern);
  for (let start = 0; start < bits.length; start += PATTERN_LENGTH) {
    bits.set(pattern.subarray(0, bits.length - start), start);
  }
  return bits;
}
