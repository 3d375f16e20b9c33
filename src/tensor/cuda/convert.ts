/**
 * Matrices from one type and order into another, on the device.
 * @module
 */
import type { DType, WeightDType } from "../dtype.ts";
import type { CudaContext } from "./context.ts";
import type { CudaKernel } from "./kernel.ts";

const THREADS = 256;

/** What is to be converted. */
export interface ConversionSource {
  /** Address of element [0, 0]. */
  readonly address: bigint;
  /** Type of the elements. */
  readonly dtype: DType;
  /** Elements between the starts of consecutive rows. */
  readonly rowStride: number;
  /** Elements between the starts of consecutive columns; 1 when left out. */
  readonly columnStride?: number;
}

/** Where it goes. */
export interface ConversionTarget {
  /** Address of element [0, 0]. */
  readonly address: bigint;
  /** Type of the elements. */
  readonly dtype: WeightDType;
  /** Elements between the starts of consecutive rows. */
  readonly rowStride: number;
}

/** Queues a conversion. */
export type Convert = (
  out: ConversionTarget,
  source: ConversionSource,
  shape: {
    readonly rows: number;
    readonly columns: number;
    /** Columns to write: zeros behind `columns`. Default: `columns`. */
    readonly paddedColumns?: number;
  },
) => void;

/** The `convert_*` kernels of `native/cuda/weights.cu`. */
export function cudaConvert(context: CudaContext): Convert {
  const kernels = new Map<string, CudaKernel>();
  return (out, source, { rows, columns, paddedColumns = columns }) => {
    const name = `convert_${source.dtype}_${out.dtype}`;
    let kernel = kernels.get(name);
    if (kernel === undefined) {
      kernel = context.kernel(name, ["pointer", "i32", "pointer", "i32", "i32", "i32", "i32"]);
      kernels.set(name, kernel);
    }
    kernel.launch({ grid: [rows, Math.ceil(paddedColumns / THREADS)], threads: THREADS }, [
      out.address,
      out.rowStride,
      source.address,
      source.rowStride,
      source.columnStride ?? 1,
      columns,
      paddedColumns,
    ]);
  };
}
