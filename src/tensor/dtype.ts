/**
 * Element types of tensors, under the names used on the command line and in the code.
 * @module
 */

/** Element type of a tensor. `f16` is IEEE binary16, `bf16` the upper half of binary32. */
export type DType = "f64" | "f32" | "f16" | "bf16" | "i64" | "i32" | "u8";

/** Element types in which weights can be stored and multiplied. */
export type WeightDType = "f32" | "f16" | "bf16";

/** Types in which keys and values can be kept; `int8` has a scale for each token and head. */
export type KvDType = WeightDType | "int8";

const BYTES: Readonly<Record<DType, number>> = {
  f64: 8,
  f32: 4,
  f16: 2,
  bf16: 2,
  i64: 8,
  i32: 4,
  u8: 1,
};

/**
 * Bytes of one element of `dtype`.
 *
 * @example
 * ```ts
 * import { dtypeBytes } from "@weft/weft";
 * console.log(dtypeBytes("bf16")); // 2
 * ```
 */
export function dtypeBytes(dtype: DType): number {
  return BYTES[dtype];
}
