/**
 * The kernels of `native/cpu/experts.c`.
 * @module
 */
import type { ExpertKernels } from "../expert_kernels.ts";
import type { LinearWeight } from "../linear_kernels.ts";
import { checkCpuActivations } from "./arguments.ts";
import type { CpuContext } from "./context.ts";
import { descriptorOf } from "./linear_weight.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_EXPERT_SYMBOLS = {
  // void weft_route_experts(weft_pool* pool, float* weights, int32_t* experts, const float* logits,
  //     int32_t stride, int32_t rows, int32_t num_experts, int32_t top_k, int32_t normalize)
  weft_route_experts: {
    parameters: ["usize", "usize", "usize", "usize", "i32", "i32", "i32", "i32", "i32"],
    result: "void",
  },
  // int32_t weft_sort_by_expert(int32_t* order, int32_t* offsets, const int32_t* experts,
  //     int32_t pairs, int32_t num_experts)
  weft_sort_by_expert: {
    parameters: ["usize", "usize", "usize", "i32", "i32"],
    result: "i32",
  },
  // void weft_grouped_linear(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //     int32_t x_stride, const uint64_t* weights, const int32_t* order,
  //     const int32_t* offsets, int32_t num_experts, int32_t input_divisor, void* scratch,
  //     int64_t scratch_bytes)
  weft_grouped_linear: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "buffer",
      "usize",
      "usize",
      "i32",
      "i32",
      "usize",
      "i64",
    ],
    result: "void",
  },
  // void weft_combine_experts(weft_pool* pool, float* out, int32_t out_stride, const float* y,
  //     int32_t y_stride, const float* weights, const int32_t* order, int32_t rows, int32_t top_k,
  //     int32_t size)
  weft_combine_experts: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "usize", "usize", "i32", "i32", "i32"],
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The kernels of mixtures of experts, on the context's pool. */
export function cpuExpertKernels(
  { kernels, pool, scratch }: CpuContext<typeof CPU_EXPERT_SYMBOLS>,
): ExpertKernels {
  // Weights do not change while a model lives: their addresses are collected once a layer.
  const addressesOfLayer = new WeakMap<readonly LinearWeight[], BigUint64Array<ArrayBuffer>>();

  function addressesOf(weights: readonly LinearWeight[]): BigUint64Array<ArrayBuffer> {
    const known = addressesOfLayer.get(weights);
    if (known !== undefined) return known;
    const addresses = BigUint64Array.from(weights, descriptorOf);
    addressesOfLayer.set(weights, addresses);
    return addresses;
  }

  return {
    routeExperts(weights, experts, routerLogits, rows, options) {
      const { numExperts, topK, normalize } = options;
      kernels.weft_route_experts(
        pool,
        weights.address,
        experts.address,
        routerLogits.address,
        routerLogits.rowStride,
        rows,
        numExperts,
        topK,
        normalize ? 1 : 0,
      );
    },

    sortByExpert(order, offsets, experts, rows, options) {
      const { numExperts, topK } = options;
      const wrongPair = kernels.weft_sort_by_expert(
        order.address,
        offsets.address,
        experts.address,
        rows * topK,
        numExperts,
      );
      if (wrongPair >= 0) {
        throw new RangeError(
          `Cannot sort by expert as pair ${wrongPair} names an expert outside 0..${numExperts - 1}`,
        );
      }
    },

    groupedLinear(out, x, weights, order, offsets, options) {
      const { inputDivisor } = options;
      checkCpuActivations("groupedLinear", x);
      checkCpuActivations("groupedLinear", out);
      kernels.weft_grouped_linear(
        pool,
        out.address,
        out.rowStride,
        x.address,
        x.rowStride,
        addressesOf(weights),
        order.address,
        offsets.address,
        weights.length,
        inputDivisor,
        scratch.address,
        scratch.byteLength,
      );
    },

    combineExperts(out, y, weights, order, rows, options) {
      const { topK, size } = options;
      kernels.weft_combine_experts(
        pool,
        out.address,
        out.rowStride,
        y.address,
        y.rowStride,
        weights.address,
        order.address,
        rows,
        topK,
        size,
      );
    },
  };
}
