/**
 * Rows as products read them: in the weight's type, at addresses that vectors can be read from.
 * @module
 */
import { dtypeBytes } from "../dtype.ts";
import type { Tensor } from "../tensor.ts";
import type { Convert } from "./convert.ts";
import { type CudaLinearWeight, VECTOR_BYTES } from "./linear_weight.ts";

/** Parts of the workspace begin at multiples of it. */
export const WORKSPACE_ALIGNMENT: number = 256;

/** Rows that a product can read. */
export interface ProductInput {
  /** Address of element [0, 0], a multiple of 16. */
  readonly address: bigint;
  /** Elements between the starts of rows, a multiple of 16 bytes. */
  readonly rowStride: number;
}

/** Bytes of workspace that {@linkcode productInput} needs: 0 when `x` can be read where it lies. */
export function productInputBytes(x: Tensor, weight: CudaLinearWeight, rows: number): number {
  if (isProductInput(x, weight)) return 0;
  const bytes = rows * weight.rowStride * dtypeBytes(weight.format);
  return Math.ceil(bytes / WORKSPACE_ALIGNMENT) * WORKSPACE_ALIGNMENT;
}

/** `x` for a product with `weight`: as it is, or converted and padded with zeros in `workspace`. */
export function productInput(
  convert: Convert,
  x: Tensor,
  weight: CudaLinearWeight,
  rows: number,
  workspace: bigint,
): ProductInput {
  if (isProductInput(x, weight)) return x;
  const { format: dtype, inFeatures: columns, rowStride } = weight;
  const packed = { address: workspace, dtype, rowStride };
  convert(packed, x, { rows, columns, paddedColumns: rowStride });
  return packed;
}

function isProductInput(x: Tensor, weight: CudaLinearWeight): boolean {
  const strideBytes = x.rowStride * dtypeBytes(x.dtype);
  return x.dtype === weight.format && weight.rowStride === weight.inFeatures &&
    strideBytes % VECTOR_BYTES === 0 && x.address % BigInt(VECTOR_BYTES) === 0n;
}
