/**
 * Weight rows that the CPU kernels read as they are stored.
 * @module
 */
import type { CpuContext } from "./context.ts";
import { type DType, dtypeBytes, type WeightDType } from "../dtype.ts";
import { type HostMatrix, weightDtype, type WeightOptions } from "../linear_kernels.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_STORED_ROWS_SYMBOLS = {
  // void weft_convert_matrix(weft_pool* pool, void* out, int32_t out_format, const void* source,
  //                          int32_t source_format, int32_t rows, int32_t columns,
  //                          int32_t row_stride, int32_t column_stride)
  weft_convert_matrix: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32", "i32", "i32"],
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;

// WEFT_F32, WEFT_F16 and WEFT_BF16 of native/cpu/simd.h.
const FORMATS: Readonly<Record<WeightDType, number>> = { f32: 0, f16: 1, bf16: 2 };

/** The kernels' number for a stored type; throws TypeError where it is not one for weights. */
export function weightFormat(dtype: DType): number {
  return FORMATS[weightDtype(dtype)];
}

/** Rows that lie together: a `weft_segment` of native/cpu/linear.h. */
export interface Segment {
  /** Address of the first element. */
  readonly address: bigint;
  /** Number of rows. */
  readonly rows: number;
  /** Elements between the starts of rows. */
  readonly rowStride: number;
  /** Number of the stored type. */
  readonly format: number;
}

/**
 * Whether kernels read rows of a weight of dense parts as they are stored: for products in f32 and f16, and
 * for look-ups where the packed form has not the same values.
 */
export function keepsRows(
  format: WeightDType,
  { quantization, use = "product" }: WeightOptions = {},
): boolean {
  if (use === "table") return true;
  return quantization === undefined ? format !== "bf16" : use === "both";
}

/** Whether kernels that want `format` read a part where it lies. */
export function staysInPlace({ dtype, transposed }: HostMatrix, format: WeightDType): boolean {
  return !transposed && (dtype === format || format === "f32");
}

/**
 * The rows of `part` for kernels that widen them in registers. It stays where it lies (usually a mapped
 * file, which must outlive the rows) when its stored type is the wanted one, or when f32 is wanted. Other
 * parts, and transposed ones, are copied once into memory whose address is added to `owned`.
 */
export function storedRows(
  context: CpuContext<typeof CPU_STORED_ROWS_SYMBOLS>,
  part: HostMatrix,
  format: WeightDType,
  owned: bigint[],
): Segment {
  const { rows, columns, rowStride, transposed = false } = part;
  const stored = weightFormat(part.dtype);
  if (staysInPlace(part, format)) {
    return { address: part.address, rows, rowStride, format: stored };
  }
  // A transposed f16 or bf16 part that is wanted as f32 is copied as it is: half the bytes to read.
  const kept = format === "f32" ? part.dtype : format;
  const address = context.memory.allocate(rows * columns * dtypeBytes(kept));
  owned.push(address);
  context.kernels.weft_convert_matrix(
    context.pool,
    address,
    weightFormat(kept),
    part.address,
    stored,
    rows,
    columns,
    transposed ? 1 : rowStride,
    transposed ? rowStride : 1,
  );
  return { address, rows, rowStride: columns, format: weightFormat(kept) };
}
