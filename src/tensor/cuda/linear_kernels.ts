/**
 * Weights on a GPU, and products with them: `native/cuda/linear.cu` for few rows, cuBLAS for more.
 * @module
 */
import { dtypeBytes } from "../dtype.ts";
import type { ElementwiseKernels } from "../elementwise_kernels.ts";
import {
  type HostVector,
  type LinearKernels,
  type LinearWeight,
  weightDtype,
} from "../linear_kernels.ts";
import { Tensor } from "../tensor.ts";
import type { CudaContext } from "./context.ts";
import { cudaConvert } from "./convert.ts";
import { partsShape } from "./elementwise_kernels.ts";
import { kernelsByDtype } from "./kernels_by_dtype.ts";
import { CudaLinearWeight, cudaWeight, VECTOR_BYTES } from "./linear_weight.ts";
import { cudaMatrixProduct, type ProductOutput } from "./matrix_product.ts";
import { cudaSkinnyLinear, MAX_SKINNY_ROWS, type ProductInput } from "./skinny_linear.ts";

/** Parts of the workspace begin at multiples of it. */
const WORKSPACE_ALIGNMENT = 256;

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

  /** x as products read it: as it is, or converted and padded into `workspace`. */
  function productInput(
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

  /** A product of many rows: the sum by cuBLAS, the rest in a pass behind it. */
  const denseLinear: LinearKernels["linear"] = (out, x, weight, rows, options) => {
    const matrix = cudaWeight(weight);
    const { bias, activation } = options ?? {};
    const hasPass = bias !== undefined || activation !== undefined;
    // Sums are rounded to the type of `out` once, behind the pass.
    const sumsInOut = !hasPass || out.dtype === "f32";
    const inputBytes = packedBytes(x, matrix, rows);
    const sumBytes = sumsInOut ? 0 : rows * matrix.outFeatures * dtypeBytes("f32");
    const workspace = context.workspace(inputBytes + sumBytes);
    const input = productInput(x, matrix, rows, workspace);
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
    checkOutput("linear", out, weight);
    if (rows === 0) return;
    if (rows > MAX_SKINNY_ROWS) return denseLinear(out, x, weight, rows, options);
    const matrix = cudaWeight(weight);
    const workspace = context.workspace(packedBytes(x, matrix, rows));
    const gelu = options?.activation === "gelu";
    const input = productInput(x, matrix, rows, workspace);
    skinny.linear(out, input, matrix, rows, { bias: options?.bias, gelu });
  };

  return {
    linearWeight: (parts, format) => CudaLinearWeight.from({ context, convert }, parts, format),

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
      checkOutput("gatedLinear", out, weight);
      if (rows === 0) return;
      if (rows > MAX_SKINNY_ROWS) {
        denseLinear(scratch, x, weight, rows, { bias });
        activations.siluAndMul(out, scratch, rows, weight.outFeatures / 2);
        return;
      }
      const matrix = cudaWeight(weight);
      const workspace = context.workspace(packedBytes(x, matrix, rows));
      skinny.gatedLinear(out, productInput(x, matrix, rows, workspace), matrix, rows, bias);
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

/** Whether a product with `weight` can read `x` where it lies. */
function isProductInput(x: Tensor, weight: CudaLinearWeight): boolean {
  const strideBytes = x.rowStride * dtypeBytes(x.dtype);
  return x.dtype === weight.format && weight.rowStride === weight.inFeatures &&
    strideBytes % VECTOR_BYTES === 0 && x.address % BigInt(VECTOR_BYTES) === 0n;
}

/** Bytes of the workspace that hold x when it is converted. */
function packedBytes(x: Tensor, weight: CudaLinearWeight, rows: number): number {
  if (isProductInput(x, weight)) return 0;
  const bytes = rows * weight.rowStride * dtypeBytes(weight.format);
  return Math.ceil(bytes / WORKSPACE_ALIGNMENT) * WORKSPACE_ALIGNMENT;
}

function checkOutput(kernel: string, { dtype }: Tensor, { format }: LinearWeight): void {
  if (dtype !== "f32" && dtype !== format) {
    throw new RangeError(
      `Cannot run ${kernel} on a GPU as out must be f32 or ${format} as the weight is: it is ${dtype}`,
    );
  }
}
