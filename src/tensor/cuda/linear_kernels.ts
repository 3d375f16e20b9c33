/**
 * Weights on a GPU, and products with them: `native/cuda/linear.cu` for few rows, cuBLAS for more.
 * @module
 */
import { dtypeBytes } from "../dtype.ts";
import type { ElementwiseKernels } from "../elementwise_kernels.ts";
import { type HostVector, type LinearKernels, weightDtype } from "../linear_kernels.ts";
import { Tensor } from "../tensor.ts";
import type { CudaContext } from "./context.ts";
import { cudaConvert } from "./convert.ts";
import { partsShape } from "./elementwise_kernels.ts";
import { kernelsByDtype } from "./kernels_by_dtype.ts";
import { checkOutputDtype } from "./kernels_by_output.ts";
import { CudaLinearWeight, cudaWeight } from "./linear_weight.ts";
import { cudaMatrixProduct, type ProductOutput } from "./matrix_product.ts";
import { productInput, productInputBytes } from "./product_input.ts";
import { cudaSkinnyLinear, MAX_SKINNY_ROWS } from "./skinny_linear.ts";

/**
 * Weights, and products with them. `blockSize` has no effect: here results are promised up to rounding,
 * and every kernel has an order of its own in which it adds.
 */
export function cudaLinearKernels(
  context: CudaContext,
  activations: Pick<ElementwiseKernels, "siluAndMul">,
): LinearKernels {
  const { memory } = context;
  const convert = cudaConvert(context);
  const skinny = cudaSkinnyLinear(context);
  const matrixProduct = cudaMatrixProduct(context);
  const embedding = kernelsByDtype(context, "embedding", [
    ...["pointer", "i32", "pointer"] as const, // out, ids
    ...["pointer", "i32", "i32", "i32", "i32"] as const, // table
  ]);
  const finish = kernelsByDtype(context, "finish_linear", [
    ...["pointer", "i32"] as const, // out
    ...["pointer", "i32"] as const, // sums
    ...["pointer", "i32", "i32"] as const,
  ]);

  /** A product of many rows: the sum by cuBLAS, the rest in a pass behind it. */
  const denseLinear: LinearKernels["linear"] = (out, x, weight, rows, options) => {
    const matrix = cudaWeight(weight);
    const { bias, activation } = options ?? {};
    const hasPass = bias !== undefined || activation !== undefined;
    // Sums are rounded to the type of `out` once, behind the pass.
    const sumsInOut = !hasPass || out.dtype === "f32";
    const inputBytes = productInputBytes(x, matrix, rows);
    const sumBytes = sumsInOut ? 0 : rows * matrix.outFeatures * dtypeBytes("f32");
    const workspace = context.workspace(inputBytes + sumBytes);
    const input = productInput(convert, x, matrix, rows, workspace);
    const sums: ProductOutput = sumsInOut
      ? { address: out.address, dtype: weightDtype(out.dtype), rowStride: out.rowStride }
      : {
        address: workspace + BigInt(inputBytes),
        dtype: "f32",
        rowStride: matrix.outFeatures,
      };
    matrixProduct(sums, input, matrix, rows);
    if (hasPass) {
      finish(out.dtype).launch(partsShape(rows, matrix.outFeatures), [
        out.address,
        out.rowStride,
        sums.address,
        sums.rowStride,
        bias?.address ?? 0n,
        activation === "gelu" ? 1 : 0,
        matrix.outFeatures,
      ]);
    }
  };

  const linear: LinearKernels["linear"] = (out, x, weight, rows, options) => {
    checkOutputDtype("linear", out.dtype, cudaWeight(weight).format);
    if (rows === 0) return;
    if (rows > MAX_SKINNY_ROWS) return denseLinear(out, x, weight, rows, options);
    const matrix = cudaWeight(weight);
    const workspace = context.workspace(productInputBytes(x, matrix, rows));
    const gelu = options?.activation === "gelu";
    const input = productInput(convert, x, matrix, rows, workspace);
    skinny.linear(out, input, matrix, rows, { bias: options?.bias, gelu });
  };

  return {
    linearWeight: (parts, format, options) =>
      CudaLinearWeight.from({ context, convert }, parts, format, options),

    vector(source) {
      const tensor = Tensor.allocate(memory, { shape: [source.length] });
      try {
        uploadVector(tensor, source);
      } catch (error) {
        tensor[Symbol.dispose]();
        throw error;
      }
      return tensor;
    },

    embedding(out, ids, table, rows, firstId) {
      const { format, address, rowStride, outFeatures, inFeatures } = cudaWeight(table);
      embedding(format).launch(partsShape(rows, inFeatures), [
        out.address,
        out.rowStride,
        ids.address,
        address,
        rowStride,
        outFeatures,
        firstId,
        inFeatures,
      ]);
    },

    linear,

    gatedLinear(out, x, weight, rows, { bias, scratch }) {
      checkOutputDtype("gatedLinear", out.dtype, cudaWeight(weight).format);
      if (rows === 0) return;
      if (rows > MAX_SKINNY_ROWS) {
        denseLinear(scratch, x, weight, rows, { bias });
        activations.siluAndMul(out, scratch, rows, weight.outFeatures / 2);
        return;
      }
      const matrix = cudaWeight(weight);
      const workspace = context.workspace(productInputBytes(x, matrix, rows));
      skinny.gatedLinear(
        out,
        productInput(convert, x, matrix, rows, workspace),
        matrix,
        rows,
        bias,
      );
    },
  };

  function uploadVector(tensor: Tensor, { address, dtype, length }: HostVector): void {
    const byteLength = length * dtypeBytes(dtype);
    if (dtype === "f32") return memory.uploadFrom(tensor.address, address, byteLength);
    const stored = memory.allocate(byteLength);
    try {
      memory.uploadFrom(stored, address, byteLength);
      convert({ address: tensor.address, dtype: "f32", rowStride: length }, {
        address: stored,
        dtype,
        rowStride: length,
      }, { rows: 1, columns: length });
      context.stream.synchronize();
    } finally {
      memory.free(stored);
    }
  }
}
