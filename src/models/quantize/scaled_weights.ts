/**
 * A checkpoint's weights with scales moved from the inputs of linear layers to what writes them.
 * @module
 */
import type { WeightDType } from "../../tensor/dtype.ts";
import type { Device } from "../../tensor/device.ts";
import type { Checkpoint } from "../checkpoint.ts";
import type { ModelConfig } from "../model_config.ts";
import type { ParameterShape } from "../parameter_shapes.ts";
import { familyOf } from "../registry.ts";
import { searchInputScales } from "./input_scales.ts";
import type { LayerInputs } from "./layer_inputs.ts";
import type { DenseWeight } from "./round_weights.ts";
import { readFloats, roundFloats, transpose } from "./stored_floats.ts";

/** What is known of the scales of one model. */
interface Scales {
  /** Factor of each input feature, by the name of the layer that reads it. */
  readonly columns: Map<string, Float32Array>;
  /** Divisor of each output feature, by the name of the linear layer that writes it. */
  readonly rows: Map<string, Float32Array>;
  /** Divisor of each feature, by the name of the norm that writes it. */
  readonly norms: Map<string, Float32Array>;
}

/** Reads the parameters of a checkpoint, scaled; without scales they are as stored. */
export class ScaledWeights {
  readonly #checkpoint: Checkpoint;
  readonly #parameters: ReadonlyMap<string, ParameterShape>;
  #inputs: ReadonlyMap<string, LayerInputs> | null = null;
  readonly #scales: Scales = { columns: new Map(), rows: new Map(), norms: new Map() };

  /** `parameters`: those of the checkpoint's model. */
  constructor(checkpoint: Checkpoint, parameters: readonly ParameterShape[]) {
    this.#checkpoint = checkpoint;
    this.#parameters = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  }

  /**
   * Finds scales for what `readers` share in every decoder layer, given the inputs of linear layers. Returns
   * the number of places that got some.
   */
  search(
    config: ModelConfig,
    options: {
      readonly inputs: ReadonlyMap<string, LayerInputs>;
      readonly device: Device;
      readonly groupSize: number;
      readonly onLayer: (index: number) => void;
    },
  ): number {
    const { inputs, onLayer } = options;
    this.#inputs = inputs;
    let found = 0;
    for (let index = 0; index < config.numLayers; index++) {
      for (const { writer, readers } of familyOf(config).sharedInputs(config, index)) {
        const quantized = readers.filter((name) => this.#layer(name) !== null);
        const scales = searchInputScales(
          quantized.map((name) => ({ weight: this.weight(name), inputs: inputs.get(name)! })),
          options,
        );
        if (scales === null) continue;
        this.#move(scales, { writer, readers });
        found++;
      }
      onLayer(index);
    }
    return found;
  }

  /** Mean square of each input of a layer's scaled weight; undefined where none was measured. */
  importance(layer: string): Float32Array | undefined {
    const inputs = this.#inputs?.get(layer);
    if (!inputs || inputs.rows === 0) return undefined;
    const factors = this.#scales.columns.get(layer);
    return factors ? inputs.squares.map((square, i) => square / factors[i] ** 2) : inputs.squares;
  }

  /** The weight of a linear layer. */
  weight(name: string): DenseWeight {
    const { shape } = this.#parameters.get(`${name}.weight`)!;
    const layer = this.#layer(name);
    const [rows, columns] = layer ? [layer.outFeatures, layer.inFeatures] : shape;
    const stored = readFloats(this.#checkpoint.tensor(`${name}.weight`, shape));
    const values = layer?.transposed ? transpose(stored, { rows: columns, columns: rows }) : stored;
    const [factors, divisors] = [this.#scales.columns.get(name), this.#scales.rows.get(name)];
    if (factors || divisors) {
      for (let row = 0, i = 0; row < rows; row++) {
        const divisor = divisors ? divisors[row] : 1;
        for (let column = 0; column < columns; column++, i++) {
          values[i] *= (factors ? factors[column] : 1) / divisor;
        }
      }
    }
    return { values, rows, columns };
  }

  /** A parameter that stays dense, `[...shape]` as stored; null where it is as in the checkpoint. */
  changed(parameter: ParameterShape): Float32Array | null {
    const owner = parameter.name.replace(/\.(weight|bias)$/, "");
    const isBias = parameter.kind === "bias";
    const { columns, rows, norms } = this.#scales;
    if (parameter.kind === "matrix") {
      // Beside a norm's linear layers a router may read it.
      return columns.has(owner) ? this.weight(owner).values : null;
    }
    const divisors = norms.get(owner) ?? (isBias ? rows.get(owner) : undefined);
    if (!divisors) return null;
    const stored = readFloats(this.#checkpoint.tensor(parameter.name, parameter.shape));
    return stored.map((value, i) => value / divisors[i]);
  }

  /**
   * Moves scales to a writer. A norm's weight is stored in few bits: the factors are what its rounded
   * weight leaves, so that its rounding costs nothing.
   */
  #move(
    wanted: Float32Array<ArrayBuffer>,
    { writer, readers }: { readonly writer: string; readonly readers: readonly string[] },
  ): void {
    const { columns, rows, norms } = this.#scales;
    let scales = wanted;
    if (this.#layer(writer)) {
      rows.set(writer, scales);
    } else {
      const { shape } = this.#parameters.get(`${writer}.weight`)!;
      const tensor = this.#checkpoint.tensor(`${writer}.weight`, shape);
      scales = exactDivisors(readFloats(tensor), wanted, tensor.dtype);
      norms.set(writer, scales);
    }
    for (const reader of readers) columns.set(reader, scales);
  }

  #layer(name: string): ParameterShape["layer"] {
    return this.#parameters.get(`${name}.weight`)?.layer ?? null;
  }
}

/** Divisors near `wanted` by which `weights` become numbers of the type `dtype`. */
function exactDivisors(
  weights: Float32Array<ArrayBuffer>,
  wanted: Float32Array,
  dtype: WeightDType,
): Float32Array<ArrayBuffer> {
  const rounded = roundFloats(weights.map((weight, i) => weight / wanted[i]), dtype);
  return weights.map((weight, i) => rounded[i] === 0 ? 1 : weight / rounded[i]);
}
