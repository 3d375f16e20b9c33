/**
 * The kernels of `native/cpu/norm.c`.
 * @module
 */
import type { NormKernels } from "../norm_kernels.ts";
import { checkCpuActivations } from "./arguments.ts";
import type { CpuContext } from "./context.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_NORM_SYMBOLS = {
  // void weft_rms_norm(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                    int32_t x_stride, float* residual, int32_t residual_stride,
  //                    const float* weight, int32_t rows, int32_t size, float epsilon)
  weft_rms_norm: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "i32",
      "i32",
      "f32",
    ],
    result: "void",
  },
  // void weft_layer_norm(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                      int32_t x_stride, float* residual, int32_t residual_stride,
  //                      const float* weight, const float* bias, int32_t rows, int32_t size,
  //                      float epsilon)
  weft_layer_norm: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "usize",
      "i32",
      "i32",
      "f32",
    ],
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The kernels that normalise rows, on the context's pool. */
export function cpuNormKernels(
  { kernels, pool }: CpuContext<typeof CPU_NORM_SYMBOLS>,
): NormKernels {
  return {
    rmsNorm(out, x, weight, rows, options) {
      const { residual } = options;
      checkCpuActivations("rmsNorm", out);
      kernels.weft_rms_norm(
        pool,
        out.address,
        out.rowStride,
        x.address,
        x.rowStride,
        residual === undefined ? 0n : residual.address,
        residual === undefined ? 0 : residual.rowStride,
        weight.address,
        rows,
        weight.size,
        options.epsilon,
      );
    },

    layerNorm(out, x, weight, bias, rows, options) {
      const { residual } = options;
      checkCpuActivations("layerNorm", out);
      kernels.weft_layer_norm(
        pool,
        out.address,
        out.rowStride,
        x.address,
        x.rowStride,
        residual === undefined ? 0n : residual.address,
        residual === undefined ? 0 : residual.rowStride,
        weight.address,
        bias.address,
        rows,
        weight.size,
        options.epsilon,
      );
    },
  };
}
