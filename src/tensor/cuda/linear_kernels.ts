/**
 * Weights on a GPU, and products with them: `native/cuda/linear.cu` for few rows, cuBLAS for more;
 * `quantized_linear.ts` for weights of 4 and 8 bits.
 * @module
 */
import { dtypeBytes } from "../dtype.ts";
import type { ElementwiseKernels } from "../elementwise_kernels.ts";
import {
  type HostMatrix,
  type HostVector,
  isQuantized,
  type LinearKernels,
  type LinearOptions,
  weightDtype,
} from "../linear_kernels.ts";
import { Tensor } from "../tensor.ts";
import type { CudaContext } from "./context.ts";
import { cudaConvert } from "./convert.ts";
import { partsShape } from "./elementwise_kernels.ts";
import { cudaFinishLinear } from "./finish_linear.ts";
import { kernelsByDtype } from "./kernels_by_dtype.ts";
import { CudaLinearWeight } from "./linear_weight.ts";
import { cudaMatrixProduct, type ProductOutput } from "./matrix_product.ts";
import { productInput, productInputBytes } from "./product_input.ts";
import { cudaQuantizedLinear } from "./quantized_linear.ts";
import { CudaQuantizedWeight } from "./quantized_weight.ts";
import { cudaSkinnyLinear, MAX_SKINNY_ROWS } from "./skinny_linear.ts";
import { checkOutputDtype, cudaWeight, denseRows } from "./weight.ts";

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
  const quantized = cudaQuantizedLinear(context, convert);
  const finishLinear = cudaFinishLinear(context);
  const embedding = kernelsByDtype(context, "embedding", [
    ...["pointer", "i32", "pointer"] as const, // out, ids
    ...["pointer", "i32", "i32", "i32", "i32"] as const, // table
  ]);

  /** A product of many rows: the sum by cuBLAS, the rest in a pass behind it. */
  const denseLinear = (
    out: Tensor,
    x: Tensor,
    matrix: CudaLinearWeight,
    rows: number,
    options?: LinearOptions,
  ) => {
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
      const shape = { rows, columns: matrix.outFeatures };
      const gelu = activation === "gelu";
      finishLinear(out, sums, shape, { bias: bias?.address ?? 0n, gelu });
    }
  };

  const linear: LinearKernels["linear"] = (out, x, weight, rows, options) => {
    const matrix = cudaWeight(weight);
    checkOutputDtype("linear", out.dtype, matrix);
    if (rows === 0) return;
    const gelu = options?.activation === "gelu";
    if (matrix instanceof CudaQuantizedWeight) {
      return quantized.linear(out, x, matrix, rows, { bias: options?.bias, gelu });
    }
    if (rows > MAX_SKINNY_ROWS) return denseLinear(out, x, matrix, rows, options);
    const workspace = context.workspace(productInputBytes(x, matrix, rows));
    const input = productInput(convert, x, matrix, rows, workspace);
    skinny.linear(out, input, matrix, rows, { bias: options?.bias, gelu });
  };

  return {
    linearWeight(parts, format, options = {}) {
      if (
        parts.some(isQuantized) || options.quantization !== undefined && options.use !== "table"
      ) {
        return CudaQuantizedWeight.from({ context, convert }, parts, format, options);
      }
      return CudaLinearWeight.from({ context, convert }, parts as readonly HostMatrix[], format);
    },

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
      const { format, address, rowStride, outFeatures, inFeatures } = denseRows(table);
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
      const matrix = cudaWeight(weight);
      checkOutputDtype("gatedLinear", out.dtype, matrix);
      if (rows === 0) return;
      if (matrix instanceof CudaQuantizedWeight) {
        if (quantized.gatedLinear(out, x, matrix, rows, bias)) return;
        quantized.linear(scratch, x, matrix, rows, { bias });
        activations.siluAndMul(out, scratch, rows, weight.outFeatures / 2);
      } else if (rows > MAX_SKINNY_ROWS) {
        denseLinear(scratch, x, matrix, rows, { bias });
        activations.siluAndMul(out, scratch, rows, weight.outFeatures / 2);
      } else {
        const workspace = context.workspace(productInputBytes(x, matrix, rows));
        const input = productInput(convert, x, matrix, rows, workspace);
        skinny.gatedLinear(out, input, matrix, rows, bias);
      }
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
