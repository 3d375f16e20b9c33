/**
 * Random integers where a config announces quantised layers, to measure speed.
 * @module
 */
import type { QuantizedMatrix } from "../tensor/linear_kernels.ts";
import type { ParameterShape } from "./parameter_shapes.ts";
import type { QuantizationConfig } from "./quantization_config.ts";
import {
  announcesLayer,
  type LayerTensor,
  layerTensors,
  type NamedLayer,
  quantizedMatrix,
} from "./quantized_layer.ts";

/** Words that are drawn; a prime, so that no row of a matrix is like the one before. */
const PATTERN_LENGTH = 499_979;

/** Quantised layers, all of which share the memory of the largest. */
export class DummyIntegers {
  readonly #quantization: QuantizationConfig;
  readonly #values: Int32Array<ArrayBuffer>;
  readonly #scales: Float32Array<ArrayBuffer>;
  readonly #zeros: Int32Array<ArrayBuffer>;

  /** Memory for those of `parameters` that are quantised; their weights vary by `standardDeviation`. */
  constructor(
    quantization: QuantizationConfig,
    options: {
      readonly parameters: readonly ParameterShape[];
      readonly standardDeviation: number;
    },
  ) {
    const { parameters, standardDeviation } = options;
    this.#quantization = quantization;
    const layers = parameters.flatMap(({ layer }) =>
      layer && this.has(layer.name) ? [layerTensors(quantization, layer)] : []
    );
    const largest = (kind: "values" | "scales" | "zeros"): number =>
      Math.max(0, ...layers.map((layer) => layer[kind] ? elementsOf(layer[kind]) : 0));
    const { bits, zeroOffset } = quantization;
    // Signed bytes would do with a quarter of the words.
    this.#values = randomWords(largest("values"));
    // Integers of so many bits vary by 2^bits / sqrt(12).
    const scale = standardDeviation * Math.sqrt(12) / 2 ** bits;
    this.#scales = new Float32Array(largest("scales")).fill(scale);
    const zero = 2 ** (bits - 1) - zeroOffset;
    const word = Array.from({ length: 32 / bits }, (_, i) => zero * 2 ** (bits * i))
      .reduce((sum, part) => sum + part);
    this.#zeros = new Int32Array(largest("zeros")).fill(word | 0);
  }

  /** Whether the layer is quantised. */
  has(name: string): boolean {
    return announcesLayer(this.#quantization, name);
  }

  /** The layer's weight; throws RangeError when its size cannot be packed. */
  matrix(layer: NamedLayer): QuantizedMatrix {
    const { values, scales, groups } = layerTensors(this.#quantization, layer);
    return quantizedMatrix(this.#quantization, layer, {
      find: ({ name }) => {
        if (name === groups?.name) return null;
        const memory = name === values.name
          ? this.#values
          : name === scales.name
          ? this.#scales
          : this.#zeros;
        const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(memory));
        return { address, dtype: "F32" };
      },
      refuse: ({ name }, reason) => {
        throw new RangeError(`Cannot make ${name} as ${reason}`);
      },
    });
  }
}

function elementsOf({ shapes: [shape] }: LayerTensor): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Repeats a pattern of xorshift32 (Marsaglia, 2003). */
function randomWords(length: number): Int32Array<ArrayBuffer> {
  const words = new Int32Array(length);
  let state = 1;
  for (let i = 0; i < Math.min(length, PATTERN_LENGTH); i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  for (let done = PATTERN_LENGTH; done < length; done *= 2) words.copyWithin(done, 0, done);
  return words;
}
