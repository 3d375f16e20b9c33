/**
 * How C declarations are written down, for the bindings and for the test that holds them against the
 * real headers.
 * @module
 */

/** Values of C enumerators and macros, by their C names. */
export type CConstants = Readonly<Record<string, number>>;

/** The part of a C structure that a binding relies on. */
export interface CStructure {
  /** Its C type. */
  readonly type: string;
  /** Bytes that are set aside for it. */
  readonly byteLength: number;
  /** Whether `byteLength` is the whole structure, a part of it (`begin`) or more than it (`room`). */
  readonly extent: "whole" | "begin" | "room";
  /** Offsets of fields in bytes. */
  readonly offsets: Readonly<Record<string, number>>;
}

/** `text` as a C string; throws TypeError when it holds a NUL. */
export function encodeCString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) {
    throw new TypeError(`Cannot pass a text to C as it holds a NUL: ${text}`);
  }
  return new TextEncoder().encode(`${text}\0`);
}

/**
 * `texts` as an array of C strings: the addresses, and behind them the strings, so that who keeps the
 * array alive keeps them too. Throws TypeError when one holds a NUL.
 */
export function encodeCStrings(texts: readonly string[]): Uint8Array<ArrayBuffer> {
  const strings = texts.map(encodeCString);
  const length = strings.reduce((sum, string) => sum + string.length, 8 * strings.length);
  const bytes = new Uint8Array(length);
  const address = addressOf(bytes);
  const view = new DataView(bytes.buffer);
  let offset = 8 * strings.length;
  for (const [index, string] of strings.entries()) {
    view.setBigUint64(8 * index, address + BigInt(offset), true);
    bytes.set(string, offset);
    offset += string.length;
  }
  return bytes;
}

/** The C string at `address`; empty when there is none. */
export function decodeCString(address: bigint): string {
  const pointer = Deno.UnsafePointer.create(address);
  return pointer === null ? "" : Deno.UnsafePointerView.getCString(pointer);
}

/** Address of the first byte of `view`, which must be kept alive while the address is used. */
export function addressOf(view: BufferSource): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(view));
}
