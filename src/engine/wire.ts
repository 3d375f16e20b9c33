/**
 * Reads and writes packed little-endian fields in caller-owned memory, at any alignment.
 * @module
 */

const WORD_BYTES = 4;

/** Bytes that {@linkcode WireWriter.ints} takes for `count` integers. */
export function intsBytes(count: number): number {
  return WORD_BYTES * (1 + count);
}

/** Writes fields one after the other; throws RangeError when they do not fit. */
export class WireWriter {
  #view: DataView;
  #start = 0;
  #offset = 0;
  #end = 0;

  /** Writes from the start of `bytes`. */
  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer);
    this.open(bytes);
  }

  /** Writes on from the start of `bytes`; leaves no garbage where they lie in the buffer of those before. */
  open(bytes: Uint8Array): void {
    if (this.#view.buffer !== bytes.buffer) this.#view = new DataView(bytes.buffer);
    this.#start = this.#offset = bytes.byteOffset;
    this.#end = bytes.byteOffset + bytes.byteLength;
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#offset - this.#start;
  }

  /** Writes a signed 32-bit integer; throws RangeError for any other value. */
  int(value: number): void {
    if (value !== (value | 0)) {
      throw new RangeError(`Cannot pack a number as it is not a 32-bit integer: ${value}`);
    }
    this.#view.setInt32(this.#advance(WORD_BYTES), value, true);
  }

  /** Writes any number by its bits. */
  float(value: number): void {
    this.#view.setFloat64(this.#advance(2 * WORD_BYTES), value, true);
  }

  /** Writes a count, -1 for null, then as many 32-bit integers. */
  ints(values: ArrayLike<number> | null): void {
    this.int(values === null ? -1 : values.length);
    if (values === null) return;
    for (let i = 0; i < values.length; i++) this.int(values[i]);
  }

  /** Writes the elements of an array by their bits; the reader has to know how many. */
  elements(values: Int32Array | Float32Array): void {
    const { byteLength } = values;
    const source = new Uint8Array(values.buffer, values.byteOffset, byteLength);
    const offset = this.#advance(byteLength);
    new Uint8Array(this.#view.buffer, offset, byteLength).set(source);
  }

  #advance(count: number): number {
    const start = this.#offset;
    if (start + count > this.#end) {
      throw new RangeError(
        `Cannot pack a message as its buffer is full: ${this.#end - this.#start} bytes`,
      );
    }
    this.#offset = start + count;
    return start;
  }
}

/** No integers, which nobody can change. */
const NO_INTS = new Int32Array(0);

/** Reads what {@linkcode WireWriter} wrote. Counts are checked against what is left before allocation. */
export class WireReader {
  #view: DataView;
  #start = 0;
  #offset = 0;
  #end = 0;

  /** Reads from the start of `bytes`. */
  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer);
    this.open(bytes);
  }

  /**
   * Reads on from the first `length` of `bytes`; leaves no garbage where they lie in the buffer of those before.
   */
  open(bytes: Uint8Array, length: number = bytes.byteLength): void {
    if (this.#view.buffer !== bytes.buffer) this.#view = new DataView(bytes.buffer);
    this.#start = this.#offset = bytes.byteOffset;
    this.#end = bytes.byteOffset + length;
  }

  /** Reads a signed 32-bit integer. */
  int(): number {
    return this.#view.getInt32(this.#advance(WORD_BYTES), true);
  }

  /** Reads a number. */
  float(): number {
    return this.#view.getFloat64(this.#advance(2 * WORD_BYTES), true);
  }

  /** Reads a count of items that take at least `itemBytes` each, or -1 where `nullable`. */
  count(itemBytes: number, nullable = false): number {
    const count = this.int();
    const left = this.#end - this.#offset;
    if (count < (nullable ? -1 : 0) || count * itemBytes > left) {
      throw new RangeError(
        `Cannot unpack a message as a count exceeds its ${left} bytes: ${count}`,
      );
    }
    return count;
  }

  /** Reads integers that are not null, into `into` where it has their number. */
  ints(into: Int32Array = NO_INTS): Int32Array {
    return this.#intsInto(this.count(WORD_BYTES), into);
  }

  /** Reads integers, or null, into `into` where it has their number. */
  nullableInts(into: Int32Array = NO_INTS): Int32Array | null {
    const count = this.count(WORD_BYTES, true);
    return count < 0 ? null : this.#intsInto(count, into);
  }

  #intsInto(count: number, into: Int32Array): Int32Array {
    if (count === 0) return NO_INTS;
    if (count !== into.length) return this.int32Elements(count);
    for (let i = 0; i < count; i++) into[i] = this.int();
    return into;
  }

  /** Reads `count` 32-bit integers into an array of their own. */
  int32Elements(count: number): Int32Array {
    return new Int32Array(this.#copy(count));
  }

  /** Reads `count` 32-bit floats into an array of their own. */
  float32Elements(count: number): Float32Array {
    return new Float32Array(this.#copy(count));
  }

  /** Throws RangeError when bytes are left over. */
  end(): void {
    const left = this.#end - this.#offset;
    if (left !== 0) throw new RangeError(`Cannot unpack a message as bytes are left over: ${left}`);
  }

  #copy(count: number): ArrayBuffer {
    const start = this.#advance(WORD_BYTES * count);
    const copy = new Uint8Array(WORD_BYTES * count);
    copy.set(new Uint8Array(this.#view.buffer, start, copy.byteLength));
    return copy.buffer;
  }

  #advance(count: number): number {
    const start = this.#offset;
    if (start + count > this.#end) {
      throw new RangeError(
        `Cannot unpack a message as it ends early: ${this.#end - this.#start} bytes`,
      );
    }
    this.#offset = start + count;
    return start;
  }
}
