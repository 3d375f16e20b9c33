/** What each collective must produce, in plain TypeScript. */
import type { ReduceOp } from "../../../src/distributed/communicator.ts";

/** Types whose elements JavaScript can hold. */
export type ReferenceType = "f32" | "f64" | "i32" | "i64" | "u8" | "f16";

/** ReferenceArray of one of them. */
export type ReferenceArray =
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>;

const CONSTRUCTORS = {
  f32: Float32Array,
  f64: Float64Array,
  i32: Int32Array,
  i64: BigInt64Array,
  u8: Uint8Array,
  f16: Uint16Array,
} as const;

/** Zeros. */
export function elements(dtype: ReferenceType, count: number): ReferenceArray {
  return new CONSTRUCTORS[dtype](count);
}

/** The input of a rank: reproducible bits of every magnitude, so that sums depend on their order. */
export function inputOf(
  dtype: ReferenceType,
  count: number,
  from: { seed: number; rank: number },
): ReferenceArray {
  const values = elements(dtype, count);
  let state = (from.seed * 0x9e3779b1 + from.rank * 0x85ebca77 + 1) >>> 0;
  for (let index = 0; index < count; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const integer = state | 0;
    if (values instanceof BigInt64Array) values[index] = BigInt(integer) * 0x1_0000_0001n;
    else if (dtype === "f32" || dtype === "f64") {
      values[index] = integer / 2 ** (8 + (state >>> 27));
    } else values[index] = integer;
  }
  return values;
}

/** Reduces by the binary tree over the parts: neighbours pair up, an odd one is carried up. */
export function treeReduce(parts: readonly ReferenceArray[], op: ReduceOp): ReferenceArray {
  let level = [...parts];
  while (level.length > 1) {
    const next: ReferenceArray[] = [];
    for (let index = 0; index + 1 < level.length; index += 2) {
      next.push(combine(level[index], level[index + 1], op));
    }
    if (level.length % 2 === 1) next.push(level[level.length - 1]);
    level = next;
  }
  return level[0];
}

function combine(a: ReferenceArray, b: ReferenceArray, op: ReduceOp): ReferenceArray {
  const out = a.slice();
  for (let index = 0; index < out.length; index++) {
    const [x, y] = [a[index], b[index]];
    // Storing into the typed array rounds (f32) or wraps (integers) as the type does.
    out[index] = op === "sum"
      ? (typeof x === "bigint" ? x + (y as bigint) : x + (y as number))
      : op === "max"
      ? (x > y ? x : y)
      : (x < y ? x : y);
  }
  return out;
}

/** Address of a typed array's first element, which the caller keeps alive. */
export function addressOf(view: ArrayBufferView<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(view));
}

/** True when both hold the same bits. */
export function sameBits(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const [x, y] = [a, b].map((view) =>
    new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  );
  return x.length === y.length && x.every((byte, index) => byte === y[index]);
}
