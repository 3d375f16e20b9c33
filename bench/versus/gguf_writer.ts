/**
 * Writes GGUF files (version 3), the checkpoints of llama.cpp.
 *
 * Source: docs/gguf.md of ggml.
 */

const MAGIC = "GGUF";
const VERSION = 3;
const ALIGNMENT = 32;

/** Number of a tensor type, the weights of one block, and its bytes. */
const TENSOR_TYPES = {
  F32: { id: 0, blockWeights: 1, blockBytes: 4 },
  Q4_0: { id: 2, blockWeights: 32, blockBytes: 18 },
  Q8_0: { id: 8, blockWeights: 32, blockBytes: 34 },
  Q6_K: { id: 14, blockWeights: 256, blockBytes: 210 },
  BF16: { id: 30, blockWeights: 1, blockBytes: 2 },
} as const;

const VALUE_TYPES = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;

/** How a tensor is stored. */
export type GgufType = keyof typeof TENSOR_TYPES;

/** A value of the metadata. */
export type GgufValue =
  | { readonly type: "u32" | "f32"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "f32s" | "i32s"; readonly value: readonly number[] };

/** A tensor that will be written. */
export interface GgufTensor {
  /** Name. */
  readonly name: string;
  /** Sizes, innermost first. */
  readonly sizes: readonly number[];
  /** Storage. */
  readonly type: GgufType;
}

/** Bytes of a block of `type`. */
export function blockBytes(type: GgufType): number {
  return TENSOR_TYPES[type].blockBytes;
}

/** Bytes of a tensor; throws RangeError when its rows are not whole blocks. */
export function tensorBytes({ name, sizes, type }: GgufTensor): number {
  const { blockWeights, blockBytes } = TENSOR_TYPES[type];
  if (sizes[0] % blockWeights !== 0) {
    throw new RangeError(
      `Cannot store ${name} as ${type} as its rows must be whole blocks of ${blockWeights}: ${
        sizes[0]
      }`,
    );
  }
  return sizes.reduce((product, size) => product * size, 1) / blockWeights * blockBytes;
}

/** Writes one file: first the header, then the tensors in the order in which they were announced. */
export class GgufWriter implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  readonly #tensors: readonly GgufTensor[];
  #next = 0;
  #left = 0;

  /** Creates (or empties) the file at `path` and writes the header. */
  constructor(
    path: string,
    options: {
      readonly metadata: Readonly<Record<string, GgufValue>>;
      readonly tensors: readonly GgufTensor[];
    },
  ) {
    const header = encodeHeader(options);
    this.#path = path;
    this.#tensors = options.tensors;
    this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
    this.#write(header);
  }

  /** Begins the next tensor; throws RangeError when the one before is not complete. */
  begin(): GgufTensor {
    this.#checkComplete();
    const tensor = this.#tensors[this.#next++];
    if (!tensor) throw new RangeError(`Cannot write more tensors to ${this.#path} than announced`);
    this.#left = tensorBytes(tensor);
    return tensor;
  }

  /** Appends to the tensor; throws RangeError beyond its bytes. */
  write(data: Uint8Array): void {
    if (data.length > this.#left) {
      throw new RangeError(
        `Cannot write ${data.length} bytes to ${this.#path} as the tensor is nearly full: ` +
          `${this.#left} bytes are left`,
      );
    }
    this.#left -= data.length;
    this.#write(data);
    if (this.#left === 0) this.#write(new Uint8Array(padding(tensorBytes(this.#current()))));
  }

  /** Checks that every tensor is there; throws RangeError otherwise. */
  finish(): void {
    this.#checkComplete();
    if (this.#next !== this.#tensors.length) {
      throw new RangeError(
        `Cannot finish ${this.#path} as ${this.#tensors.length} tensors were announced: ` +
          `${this.#next} are written`,
      );
    }
  }

  /** Closes the file, finished or not. */
  [Symbol.dispose](): void {
    this.#file.close();
  }

  #current(): GgufTensor {
    return this.#tensors[this.#next - 1];
  }

  #checkComplete(): void {
    if (this.#left === 0) return;
    throw new RangeError(`${this.#current().name} is not complete: ${this.#left} bytes are left`);
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) done += this.#file.writeSync(bytes.subarray(done));
  }
}

function padding(bytes: number): number {
  return (ALIGNMENT - bytes % ALIGNMENT) % ALIGNMENT;
}

function encodeHeader(
  { metadata, tensors }: {
    readonly metadata: Readonly<Record<string, GgufValue>>;
    readonly tensors: readonly GgufTensor[];
  },
): Uint8Array {
  const out = new ByteBuilder();
  out.bytes(new TextEncoder().encode(MAGIC));
  out.u32(VERSION);
  out.u64(tensors.length);
  const entries = Object.entries(metadata);
  out.u64(entries.length);
  for (const [key, value] of entries) {
    out.string(key);
    encodeValue(out, value);
  }
  let offset = 0;
  for (const tensor of tensors) {
    out.string(tensor.name);
    out.u32(tensor.sizes.length);
    for (const size of tensor.sizes) out.u64(size);
    out.u32(TENSOR_TYPES[tensor.type].id);
    out.u64(offset);
    const bytes = tensorBytes(tensor);
    offset += bytes + padding(bytes);
  }
  out.bytes(new Uint8Array(padding(out.length)));
  return out.take();
}

function encodeValue(out: ByteBuilder, { type, value }: GgufValue): void {
  const array = (element: number, length: number) => {
    out.u32(VALUE_TYPES.array);
    out.u32(element);
    out.u64(length);
  };
  switch (type) {
    case "u32":
      out.u32(VALUE_TYPES.u32);
      return out.u32(value);
    case "f32":
      out.u32(VALUE_TYPES.f32);
      return out.f32(value);
    case "bool":
      out.u32(VALUE_TYPES.bool);
      return out.bytes(Uint8Array.of(value ? 1 : 0));
    case "string":
      out.u32(VALUE_TYPES.string);
      return out.string(value);
    case "strings":
      array(VALUE_TYPES.string, value.length);
      return value.forEach((text) => out.string(text));
    case "f32s":
      array(VALUE_TYPES.f32, value.length);
      return value.forEach((number) => out.f32(number));
    case "i32s":
      array(VALUE_TYPES.i32, value.length);
      return value.forEach((number) => out.u32(number));
  }
}

/** Little-endian bytes that grow. */
class ByteBuilder {
  readonly #text = new TextEncoder();
  #data = new Uint8Array(1 << 16);
  #view = new DataView(this.#data.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#data.set(bytes, at);
  }

  u32(value: number): void {
    const at = this.#reserve(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: number): void {
    const at = this.#reserve(8);
    this.#view.setBigUint64(at, BigInt(value), true);
  }

  f32(value: number): void {
    const at = this.#reserve(4);
    this.#view.setFloat32(at, value, true);
  }

  string(text: string): void {
    const bytes = this.#text.encode(text);
    this.u64(bytes.length);
    this.bytes(bytes);
  }

  take(): Uint8Array {
    return this.#data.subarray(0, this.#length);
  }

  #reserve(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#data.length) {
      const larger = new Uint8Array(2 * this.#length);
      larger.set(this.#data);
      this.#data = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}
