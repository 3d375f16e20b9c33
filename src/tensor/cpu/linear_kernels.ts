/**
 * The kernels of `native/cpu/linear.c` and `embedding.c`, and weights.
 * @module
 */
import type { LinearKernels } from "../linear_kernels.ts";
import { Tensor } from "../tensor.ts";
import { checkCpuActivations } from "./arguments.ts";
import type { CpuContext } from "./context.ts";
import { CPU_WEIGHT_SYMBOLS, CpuLinearWeight, descriptorOf } from "./linear_weight.ts";
import { weightFormat } from "./stored_rows.ts";

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
  //                  int32_t tokens, int32_t activation, void* scratch, int64_t scratch_bytes)
  weft_linear: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "usize",
      "i32",
      "i32",
      "usize",
      "i64",
    ],
    result: "void",
  },
  // void weft_gated_linear(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                        int32_t x_stride, const weft_weight* weight, const float* bias,
  //                        int32_t tokens, float* projected, int32_t projected_stride,
  //                        void* scratch, int64_t scratch_bytes)
  weft_gated_linear: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "i64",
    ],
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** Activations of native/cpu/linear.h. */
const IDENTITY = 0;
const GELU = 1;

/** Weights, and products with them on the context's pool. Mapped parts must outlive a weight. */
export function cpuLinearKernels(context: CpuContext<typeof CPU_LINEAR_SYMBOLS>): LinearKernels {
  const { kernels, memory, pool, scratch } = context;
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

    linear(out, x, weight, rows, options) {
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
        options?.activation === "gelu" ? GELU : IDENTITY,
        scratch.address,
        scratch.byteLength,
      );
    },

    gatedLinear(out, x, weight, rows, { bias, scratch: projected }) {
      checkCpuActivations("gatedLinear", out);
      checkCpuActivations("gatedLinear", x);
      kernels.weft_gated_linear(
        pool,
        out.address,
        out.rowStride,
        x.address,
        x.rowStride,
        descriptorOf(weight),
        bias === undefined ? 0n : bias.address,
        rows,
        projected.address,
        projected.rowStride,
        scratch.address,
        scratch.byteLength,
      );
    },
  };
}
