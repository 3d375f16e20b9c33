/**
 * What follows sums of products that other kernels left in f32.
 * @module
 */
import type { Tensor } from "../tensor.ts";
import type { CudaContext } from "./context.ts";
import { partsShape } from "./elementwise_kernels.ts";
import { kernelsByDtype } from "./kernels_by_dtype.ts";

/** Sums `[rows, columns]`, in parts that lie behind each other and are added. */
export interface ProductSums {
  /** Address of the first part. */
  readonly address: bigint;
  /** Elements between the starts of rows. */
  readonly rowStride: number;
  /** Number of parts; 1 when left out. */
  readonly parts?: number;
}

/** Queues `out = sums + bias`, then GELU if `gelu`; `out` may be `sums`. */
export type FinishLinear = (
  out: Pick<Tensor, "address" | "rowStride" | "dtype">,
  sums: ProductSums,
  shape: { readonly rows: number; readonly columns: number },
  options: { readonly bias: bigint; readonly gelu: boolean },
) => void;

/** The `finish_linear_*` kernels of `native/cuda/weights.cu`. */
export function cudaFinishLinear(context: CudaContext): FinishLinear {
  const finish = kernelsByDtype(context, "finish_linear", [
    ...["pointer", "i32"] as const, // out
    ...["pointer", "i32", "i32"] as const, // sums
    ...["pointer", "i32", "i32"] as const,
  ]);
  return (out, sums, { rows, columns }, { bias, gelu }) => {
    finish(out.dtype).launch(partsShape(rows, columns), [
      out.address,
      out.rowStride,
      sums.address,
      sums.rowStride,
      sums.parts ?? 1,
      bias,
      gelu ? 1 : 0,
      columns,
    ]);
  };
}
