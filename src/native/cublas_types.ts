/**
 * Values of cuBLAS, under their C names.
 * @module
 */
import type { CConstants } from "./c_declarations.ts";

/** Whether an operand is transposed. */
export const CublasOperation = {
  CUBLAS_OP_N: 0,
  CUBLAS_OP_T: 1,
} as const satisfies CConstants;

/** Types of elements. */
export const CudaDataType = {
  CUDA_R_32F: 0,
  CUDA_R_16F: 2,
  CUDA_R_8I: 3,
  CUDA_R_32I: 10,
  CUDA_R_16BF: 14,
} as const satisfies CConstants;

/** Arithmetic of products and sums. */
export const CublasComputeType = {
  CUBLAS_COMPUTE_32F: 68,
  CUBLAS_COMPUTE_32F_PEDANTIC: 69,
  CUBLAS_COMPUTE_32I: 72,
  CUBLAS_COMPUTE_32F_FAST_TF32: 77,
} as const satisfies CConstants;

/** Modes of a handle, and the choice of algorithms. */
export const CublasMode = {
  CUBLAS_DEFAULT_MATH: 0,
  CUBLAS_PEDANTIC_MATH: 2,
  CUBLAS_TF32_TENSOR_OP_MATH: 3,
  CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION: 16,
  CUBLAS_POINTER_MODE_HOST: 0,
  CUBLAS_POINTER_MODE_DEVICE: 1,
  CUBLAS_GEMM_DEFAULT: -1,
} as const satisfies CConstants;

/** What `cublasGetProperty` can be asked. */
export const LibraryProperty = {
  MAJOR_VERSION: 0,
  MINOR_VERSION: 1,
  PATCH_LEVEL: 2,
} as const satisfies CConstants;
