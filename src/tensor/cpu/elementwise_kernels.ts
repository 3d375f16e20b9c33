/**
 * The kernels of `native/cpu/activation.c` and `elementwise.c`.
 * @module
 */
import type { ElementwiseKernels } from "../elementwise_kernels.ts";
import { checkCpuActivations } from "./arguments.ts";
import type { CpuContext } from "./context.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_ELEMENTWISE_SYMBOLS = {
  // void weft_silu_and_mul(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                        int32_t x_stride, int32_t rows, int32_t size)
  weft_silu_and_mul: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32"],
    result: "void",
  },
  // void weft_gelu(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                int32_t x_stride, int32_t rows, int32_t size)
  weft_gelu: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32"],
    result: "void",
  },
  // void weft_add(weft_pool* pool, float* out, const float* a, const float* b, int32_t count)
  weft_add: { parameters: ["usize", "usize", "usize", "usize", "i32"], result: "void" },
  // void weft_add_bias(weft_pool* pool, float* x, int32_t x_stride, const float* bias,
  //                    int32_t rows, int32_t size)
  weft_add_bias: { parameters: ["usize", "usize", "i32", "usize", "i32", "i32"], result: "void" },
  // int32_t weft_gather_rows(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                          int32_t x_stride, int32_t x_rows, const int32_t* index,
  //                          int32_t rows, int32_t size)
  weft_gather_rows: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "usize", "i32", "i32"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** Activations, sums and row copies, on the context's pool. */
export function cpuElementwiseKernels(
  { kernels, pool }: CpuContext<typeof CPU_ELEMENTWISE_SYMBOLS>,
): ElementwiseKernels {
  return {
    siluAndMul(out, x, rows, size) {
      checkCpuActivations("siluAndMul", x);
      kernels.weft_silu_and_mul(
        pool,
        out.address,
        out.rowStride,
        x.address,
        x.rowStride,
        rows,
        size,
      );
    },

    gelu(out, x, rows, size) {
      checkCpuActivations("gelu", x);
      kernels.weft_gelu(pool, out.address, out.rowStride, x.address, x.rowStride, rows, size);
    },

    add(out, a, b, count) {
      kernels.weft_add(pool, out.address, a.address, b.address, count);
    },

    addBias(x, bias, rows) {
      kernels.weft_add_bias(pool, x.address, x.rowStride, bias.address, rows, bias.size);
    },

    gatherRows(out, x, index, rows, size) {
      const failed = kernels.weft_gather_rows(
        pool,
        out.address,
        out.rowStride,
        x.address,
        x.rowStride,
        x.shape[0],
        index.address,
        rows,
        size,
      );
      if (failed >= 0) {
        throw new RangeError(
          `Cannot run gatherRows as index ${failed} lies outside the ${x.shape[0]} rows of x`,
        );
      }
    },
  };
}
