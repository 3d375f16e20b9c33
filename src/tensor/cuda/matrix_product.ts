/**
 * Products of many rows: cuBLAS.
 * @module
 */
import { CublasComputeType, CublasOperation, CudaDataType } from "../../native/cublas_types.ts";
import { addressOf } from "../../native/c_declarations.ts";
import type { WeightDType } from "../dtype.ts";
import type { CudaContext } from "./context.ts";
import type { CudaLinearWeight } from "./linear_weight.ts";
import type { ProductInput } from "./product_input.ts";

const DATA_TYPES: Readonly<Record<WeightDType, number>> = {
  f32: CudaDataType.CUDA_R_32F,
  f16: CudaDataType.CUDA_R_16F,
  bf16: CudaDataType.CUDA_R_16BF,
};

/** Where a product goes. */
export interface ProductOutput {
  /** Address of element [0, 0]. */
  readonly address: bigint;
  /** f32 or the weight's type. */
  readonly dtype: WeightDType;
  /** Elements between the starts of rows. */
  readonly rowStride: number;
}

/** A dense matrix, of which a row may have more than its `inFeatures`. */
export type DenseMatrix = Pick<
  CudaLinearWeight,
  "format" | "address" | "outFeatures" | "inFeatures" | "rowStride"
>;

/** Queues `out = x weight^T`. */
export type MatrixProduct = (
  out: ProductOutput,
  x: ProductInput,
  weight: DenseMatrix,
  rows: number,
) => void;

/** Products with f32 sums; factors are not rounded any further (no TF32). */
export function cudaMatrixProduct({ blas }: CudaContext): MatrixProduct {
  const { cublas, handle } = blas;
  const factors = Float32Array.of(1, 0);
  return (out, x, weight, rows) => {
    const alpha = addressOf(factors);
    const beta = alpha + BigInt(factors.BYTES_PER_ELEMENT);
    const type = DATA_TYPES[weight.format];
    // Row-major matrices are column-major ones transposed: out^T = weight x^T.
    cublas.gemmEx(
      handle,
      CublasOperation.CUBLAS_OP_T,
      CublasOperation.CUBLAS_OP_N,
      weight.outFeatures,
      rows,
      weight.inFeatures,
      alpha,
      weight.address,
      type,
      weight.rowStride,
      x.address,
      type,
      x.rowStride,
      beta,
      out.address,
      DATA_TYPES[out.dtype],
      out.rowStride,
      CublasComputeType.CUBLAS_COMPUTE_32F,
    );
  };
}
