/**
 * What the rows of a step ask of the sampler, on its way to the device.
 * @module
 */
import type { DeviceMemory } from "../../tensor/device.ts";
import { type DType, dtypeBytes } from "../../tensor/dtype.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { isTruncated, type SampleRow, type SamplingWork } from "./sample_row.ts";

/** One number (or pair) per row, on both sides. */
interface Parameter<Values> {
  readonly tensor: Tensor;
  readonly values: Values;
}

/** Bytes of a row's parameters that every draw needs, and of all its parameters. */
const DRAW_BYTES = 20;
const ROW_BYTES = 52;

const KEEP_ALL = { minP: 0, topK: 0, topP: 1 };
const PADDING: SampleRow = {
  sampling: null,
  adjustments: null,
  position: 0,
  target: 0,
  logprobs: null,
};

/**
 * One array per parameter, all in one piece of memory on either side, so that a step's parameters
 * travel in one upload. Those that every draw needs come first: most steps upload no more.
 */
export class SamplingParameters implements Disposable {
  /** f32: 0 draws greedily. */
  readonly temperatures: Parameter<Float32Array>;
  /** i32 pairs: low and high half of the seed. */
  readonly seeds: Parameter<Int32Array>;
  /** i32: choice index of the request. */
  readonly choices: Parameter<Int32Array>;
  /** i32: position of the token that is drawn. */
  readonly positions: Parameter<Int32Array>;
  /** f64: temperature times ln(min-p); -Infinity keeps all. */
  readonly minPOffsets: Parameter<Float64Array>;
  /** f64: top-k; 0 keeps all. */
  readonly topKShares: Parameter<Float64Array>;
  /** f64: top-p; 0 keeps all. */
  readonly topPShares: Parameter<Float64Array>;
  /** i32: token whose log-probability is wanted, unless `targetSources` names a draw. */
  readonly targets: Parameter<Int32Array>;
  /** i32: row whose drawn token is the target, or -1. */
  readonly targetSources: Parameter<Int32Array>;
  readonly #memory: DeviceMemory;
  readonly #address: bigint;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #drawBytes: Uint8Array<ArrayBuffer>;

  /** Allocates parameters of up to `maxRows` rows. */
  constructor(memory: DeviceMemory, maxRows: number) {
    // Rounded up, so that every array starts at a multiple of 64 bytes.
    const rows = Math.ceil(maxRows / 16) * 16;
    const bytes = new Uint8Array(ROW_BYTES * rows);
    const address = memory.allocate(bytes.length);
    let offset = 0;
    const place = <Values>(
      dtype: DType,
      Values: new (buffer: ArrayBuffer, offset: number, length: number) => Values,
      length = rows,
    ): Parameter<Values> => {
      const tensor = Tensor.view(memory, address + BigInt(offset), { shape: [length], dtype });
      const values = new Values(bytes.buffer, offset, length);
      offset += length * dtypeBytes(dtype);
      return { tensor, values };
    };
    this.#memory = memory;
    this.#address = address;
    this.#bytes = bytes;
    this.#drawBytes = bytes.subarray(0, DRAW_BYTES * rows);
    this.temperatures = place("f32", Float32Array);
    this.seeds = place("i32", Int32Array, 2 * rows);
    this.choices = place("i32", Int32Array);
    this.positions = place("i32", Int32Array);
    this.minPOffsets = place("f64", Float64Array);
    this.topKShares = place("f64", Float64Array);
    this.topPShares = place("f64", Float64Array);
    this.targets = place("i32", Int32Array);
    this.targetSources = place("i32", Int32Array);
  }

  /** Uploads what `rows` ask for; padding up to `work.rows` is drawn greedily. */
  upload(rows: readonly SampleRow[], work: SamplingWork): void {
    for (let row = 0; row < work.rows; row++) {
      this.#write(row, row < rows.length ? rows[row] : PADDING);
    }
    const plain = !work.truncated && work.logprobs === null;
    this.#memory.upload(this.#address, plain ? this.#drawBytes : this.#bytes);
  }

  #write(row: number, { sampling, position, target }: SampleRow): void {
    const temperature = sampling && sampling.topK !== 1 ? Math.fround(sampling.temperature) : 0;
    this.temperatures.values[row] = temperature;
    this.seeds.values[2 * row] = sampling?.seedLow ?? 0;
    this.seeds.values[2 * row + 1] = sampling?.seedHigh ?? 0;
    this.choices.values[row] = sampling?.choice ?? 0;
    this.positions.values[row] = position;
    const { minP, topK, topP } = sampling && isTruncated(sampling) ? sampling : KEEP_ALL;
    // p >= minP * pMax, with p proportional to exp(logit / temperature).
    this.minPOffsets.values[row] = minP > 0 ? temperature * Math.log(minP) : -Infinity;
    this.topKShares.values[row] = topK;
    this.topPShares.values[row] = topP < 1 ? topP : 0;
    this.targets.values[row] = Math.max(0, target);
    this.targetSources.values[row] = target < 0 ? row : -1;
  }

  /** Frees the memory. */
  [Symbol.dispose](): void {
    this.#memory.free(this.#address);
  }
}
