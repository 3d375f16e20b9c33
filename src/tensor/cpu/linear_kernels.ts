/**
 * The kernels of `native/cpu/linear.c` and `embedding.c`, and weights.
 * @module
 */
import type { ElementwiseKernels } from "../elementwise_kernels.ts";
import type { LinearKernels } from "../linear_kernels.ts";
import { Tensor } from "../tensor.ts";
import { checkCpuActivations } from "./arguments.ts";
import type { CpuContext } from "./context.ts";
import {
  CPU_WEIGHT_SYMBOLS,
  CpuLinearWeight,
  descriptorOf,
  weightFormat,
} from "./linear_weight.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_LINEAR_SYMBOLS = {
  ...CPU_WEIGHT_SYMBOLS,
  // void weft_embedding(weft_pool* pool, float* out, int32_t out_stride, const int32_t* ids,
  //                     const weft_weight* table, int32_t rows, int32_t first_id)
  weft_embedding: {
    parameters: ["usize", "usize", "i32", "usize", "usize", "i32", "i32"],
    result: "void",
  },
  // void weft_linear(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                  int32_t x_stride, const weft_weight* weight, const float* bias,
  //                  int32_t tokens)
  weft_linear: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "usize", "usize", "i32"],
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** Weights, and products with them on the context's pool. Mapped parts must outlive a weight. */
export function cpuLinearKernels(
  context: CpuContext<typeof CPU_LINEAR_SYMBOLS>,
  activations: Pick<ElementwiseKernels, "gelu" | "siluAndMul">,
): LinearKernels {
  const { kernels, memory, pool } = context;
  const linear: LinearKernels["linear"] = (out, x, weight, rows, options) => {
    const bias = options?.bias;
    checkCpuActivations("linear", out);
    checkCpuActivations("linear", x);
    kernels.weft_linear(
      pool,
      out.address,
      out.rowStride,
      x.address,
      x.rowStride,
      descriptorOf(weight),
      bias === undefined ? 0n : bias.address,
      rows,
    );
    if (options?.activation === "gelu") activations.gelu(out, out, rows, weight.outFeatures);
  };
  return {
    linearWeight: (parts, format, options) => CpuLinearWeight.from(context, parts, format, options),

    vector({ address, dtype, length }) {
      const format = weightFormat(dtype);
      const tensor = Tensor.allocate(memory, { shape: [length] });
      kernels.weft_convert_matrix(pool, tensor.address, 0, address, format, 1, length, length, 1);
      return tensor;
    },

    embedding(out, ids, table, rows, firstId) {
      kernels.weft_embedding(
        pool,
        out.address,
        out.rowStride,
        ids.address,
        descriptorOf(table),
        rows,
        firstId,
      );
    },

    linear,

    gatedLinear(out, x, weight, rows, { bias, scratch }) {
      linear(scratch, x, weight, rows, { bias });
      activations.siluAndMul(out, scratch, rows, weight.outFeatures / 2);
    },
  };
}
