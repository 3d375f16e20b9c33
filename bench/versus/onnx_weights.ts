/** The weights of ONNX models. */
import { RandomWeights, WeightStream } from "../../src/models/random_weights.ts";
import type { OnnxConstant } from "./onnx_writer.ts";

/** Of every matrix. */
export const STANDARD_DEVIATION = 0.02;

const CHUNK_WORDS = 1 << 18;

/** Where constants may begin. */
const ALIGNMENT = 4096;

/** A file of random weights, which grows constant by constant. */
export class OnnxWeights implements Disposable {
  readonly #name: string;
  readonly #file: Deno.FsFile;
  readonly #normal = new RandomWeights("f32", { seed: 0n, standardDeviation: STANDARD_DEVIATION })
    .stream("onnx");
  readonly #bits = new WeightStream(
    Uint16Array.from({ length: 65536 }, (_, i) => i),
    Uint32Array.of(1, 2, 3, 4),
  );
  #length = 0;

  /** Creates (or empties) the file `name` in `folder`. */
  constructor(folder: string, name: string) {
    this.#name = name;
    const options = { write: true, create: true, truncate: true };
    this.#file = Deno.openSync(`${folder}/${name}`, options);
  }

  /** f32 values from `value`, or normally distributed ones. */
  floats(count: number, value?: (index: number) => number): OnnxConstant["data"] {
    return this.#append(4 * count, (words, start) => {
      if (!value) return this.#normal.fill(words);
      const floats = new Float32Array(words.buffer);
      for (let i = 0; i < floats.length; i++) floats[i] = value(start + i);
    });
  }

  /** Random bytes. */
  bytes(count: number): OnnxConstant["data"] {
    return this.#append(count, (words) => this.#bits.fill(new Uint16Array(words.buffer)));
  }

  #append(
    bytes: number,
    fill: (words: Uint32Array<ArrayBuffer>, start: number) => void,
  ): OnnxConstant["data"] {
    const offset = this.#length;
    const chunk = new Uint32Array(CHUNK_WORDS);
    for (let done = 0; done < bytes; done += chunk.byteLength) {
      fill(chunk, done / 4);
      this.#write(new Uint8Array(chunk.buffer, 0, Math.min(chunk.byteLength, bytes - done)));
    }
    this.#write(new Uint8Array((ALIGNMENT - this.#length % ALIGNMENT) % ALIGNMENT));
    return { file: this.#name, offset, bytes };
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) done += this.#file.writeSync(bytes.subarray(done));
    this.#length += bytes.length;
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}
