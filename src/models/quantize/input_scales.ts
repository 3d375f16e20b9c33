/**
 * Scales that let inputs of large magnitude keep their accuracy when the weights are rounded.
 *
 * Source: Lin et al., "AWQ: Activation-aware Weight Quantization" (arXiv 2306.00978).
 * @module
 */
import type { Device } from "../../tensor/device.ts";
import { Tensor } from "../../tensor/tensor.ts";
import type { LayerInputs } from "./layer_inputs.ts";
import { type DenseWeight, roundGroups } from "./round_weights.ts";

/** A linear layer and what it reads. */
export interface Reader {
  /** Its weight. */
  readonly weight: DenseWeight;
  /** Its inputs on the calibration text. */
  readonly inputs: LayerInputs;
}

/** Exponents that are tried: 0, which changes nothing, up to 1. */
const STEPS = 20;

/** Output features of a layer on which scales are tried. */
const SAMPLE_OUTPUTS = 128;

/** Least magnitude of a feature beside which others are scaled. */
const LEAST_MAGNITUDE = 1e-4;

/**
 * Scales for the features of an input that `readers` share: mean magnitude to the power between 0 and 1
 * that makes the square error of the readers' outputs least when the scaled weights are rounded in
 * groups of `groupSize`. Null where no scales are better than none. `device` is a CPU.
 */
export function searchInputScales(
  readers: readonly Reader[],
  options: { readonly device: Device; readonly groupSize: number },
): Float32Array<ArrayBuffer> | null {
  const visited = readers.filter(({ inputs }) => inputs.rows > 0);
  if (visited.length === 0) return null;
  const magnitudes = meanMagnitudes(visited);
  using trials = new DisposableStack();
  const measured = visited.map((reader) => trials.use(new Trial(reader, options)));
  let best: { scales: Float32Array<ArrayBuffer> | null; error: number } = {
    scales: null,
    error: Infinity,
  };
  for (let step = 0; step < STEPS; step++) {
    const scales = scalesOf(magnitudes, step / STEPS);
    const error = measured.reduce((sum, trial) => sum + trial.error(scales), 0);
    if (error < best.error) best = { scales: step === 0 ? null : scales, error };
  }
  return best.scales;
}

function meanMagnitudes(readers: readonly Reader[]): Float32Array {
  const total = readers.reduce((sum, { inputs }) => sum + inputs.rows, 0);
  return readers[0].inputs.magnitudes.map((_, i) =>
    readers.reduce((sum, { inputs }) => sum + inputs.magnitudes[i] * inputs.rows, 0) / total
  );
}

/** Powers of the magnitudes, with the geometric mean of their extremes at 1. */
function scalesOf(magnitudes: Float32Array, exponent: number): Float32Array<ArrayBuffer> {
  const scales = Float32Array.from(
    magnitudes,
    (magnitude) => Math.max(magnitude, LEAST_MAGNITUDE) ** exponent,
  );
  let [least, most] = [Infinity, 0];
  for (const scale of scales) {
    least = Math.min(least, scale);
    most = Math.max(most, scale);
  }
  const middle = Math.sqrt(least * most);
  return scales.map((scale) => scale / middle);
}

/** Some outputs of a layer on the sample of its inputs, exact and with rounded weights. */
class Trial implements Disposable {
  readonly #device: Device;
  readonly #groupSize: number;
  readonly #weight: DenseWeight;
  readonly #inputs: Tensor;
  readonly #outputs: Tensor;

  constructor(reader: Reader, options: { readonly device: Device; readonly groupSize: number }) {
    const { weight, inputs } = reader;
    this.#device = options.device;
    this.#groupSize = options.groupSize;
    this.#weight = sampleRows(weight);
    const { rows, columns } = this.#weight;
    this.#inputs = Tensor.allocate(this.#device, { shape: [inputs.rows, columns] });
    this.#inputs.upload(inputs.sample);
    this.#outputs = Tensor.allocate(this.#device, { shape: [inputs.rows, rows] });
  }

  /** Square error of the outputs. */
  error(scales: Float32Array): number {
    const { values, rows, columns } = this.#weight;
    const groupSize = this.#groupSize;
    const scaled = new Float32Array(values.length);
    for (let i = 0, column = 0; i < values.length; i++, column++) {
      if (column === columns) column = 0;
      scaled[i] = values[i] * scales[column];
    }
    const rounded = roundGroups({ values: scaled, rows, columns }, { groupSize });
    for (let row = 0, i = 0; row < rows; row++) {
      for (let column = 0, place = row; column < columns; place += rows) {
        const [zero, scale] = [rounded.zeros[place], rounded.scales[place]];
        for (const end = column + groupSize; column < end; column++, i++) {
          scaled[i] = (rounded.values[i] - zero) * scale / scales[column] - values[i];
        }
      }
    }
    return this.#energy(scaled);
  }

  /** Sum of the squares of the sample's product with `difference`. */
  #energy(difference: Float32Array<ArrayBuffer>): number {
    const { rows, columns } = this.#weight;
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(difference));
    const part = { address, dtype: "f32", rows, columns, rowStride: columns } as const;
    using weight = this.#device.linearWeight([part], "f32");
    this.#device.linear(this.#outputs, this.#inputs, weight, this.#inputs.shape[0]);
    const outputs = this.#outputs.download(new Float32Array(this.#outputs.size));
    let sum = 0;
    for (const value of outputs) sum += value * value;
    return sum;
  }

  [Symbol.dispose](): void {
    this.#inputs[Symbol.dispose]();
    this.#outputs[Symbol.dispose]();
  }
}

function sampleRows({ values, rows, columns }: DenseWeight): DenseWeight {
  const kept = Math.min(rows, SAMPLE_OUTPUTS);
  const sample = new Float32Array(kept * columns);
  for (let i = 0; i < kept; i++) {
    const row = Math.floor(i * rows / kept);
    sample.set(values.subarray(row * columns, (row + 1) * columns), i * columns);
  }
  return { values: sample, rows: kept, columns };
}
