/**
 * Writes safetensors files, one tensor after the other.
 * @module
 */

/** A tensor to be written. */
export interface SafetensorsTensor {
  /** Name. */
  readonly name: string;
  /** Element type as the format spells it, such as `BF16`. */
  readonly dtype: string;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** Bytes that will be written for it. */
  readonly byteLength: number;
}

/**
 * Writes one file: the header first, then the tensors' bytes in the order they were announced, in
 * pieces of any size, so that no tensor has to be whole in memory.
 *
 * @example
 * ```ts
 * import { SafetensorsWriter } from "@weft/weft";
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * const weight = { name: "weight", dtype: "F32", shape: [2], byteLength: 8 };
 * using writer = new SafetensorsWriter(path, { tensors: [weight] });
 * writer.write(new Float32Array([1, 2]));
 * writer.finish();
 * ```
 */
export class SafetensorsWriter implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  readonly #dataBytes: number;
  #written = 0;
  #open = true;

  /** Creates (or empties) the file at `path` and writes the header. */
  constructor(
    path: string,
    options: {
      tensors: readonly SafetensorsTensor[];
      metadata?: Readonly<Record<string, string>>;
    },
  ) {
    const { header, dataBytes } = encodeHeader(options.tensors, options.metadata);
    this.#path = path;
    this.#dataBytes = dataBytes;
    this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
    try {
      this.#writeAll(header);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Appends bytes of the tensors; throws RangeError beyond what was announced. */
  write(data: ArrayBufferView): void {
    if (this.#written + data.byteLength > this.#dataBytes) {
      throw new RangeError(
        `Cannot write ${data.byteLength} bytes to ${this.#path} as ${this.#dataBytes} were announced: ` +
          `${this.#written} are written`,
      );
    }
    this.#writeAll(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    this.#written += data.byteLength;
  }

  /** Closes the file; throws RangeError unless all announced bytes were written. */
  finish(): void {
    if (this.#written !== this.#dataBytes) {
      throw new RangeError(
        `Cannot finish ${this.#path} as ${this.#dataBytes} bytes were announced: ${this.#written} are written`,
      );
    }
    this[Symbol.dispose]();
  }

  #writeAll(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) done += this.#file.writeSync(bytes.subarray(done));
  }

  /** Closes the file, finished or not. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#file.close();
  }
}

function encodeHeader(
  tensors: readonly SafetensorsTensor[],
  metadata: Readonly<Record<string, string>> = {},
): { header: Uint8Array; dataBytes: number } {
  const entries: [string, unknown][] = [["__metadata__", { ...metadata }]];
  let offset = 0;
  for (const { name, dtype, shape, byteLength } of tensors) {
    entries.push([name, { dtype, shape, data_offsets: [offset, offset + byteLength] }]);
    offset += byteLength;
  }
  if (new Set(entries.map(([name]) => name)).size !== entries.length) {
    throw new RangeError("Cannot write a safetensors file as two tensors have the same name");
  }
  // Written by hand: an object would move names that look like numbers to the front.
  const json = `{${
    entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(",")
  }}`;
  const text = new TextEncoder().encode(json);
  // Spaces up to a multiple of 8, so that the data is aligned.
  const header = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(text, 8);
  return { header, dataBytes: offset };
}
