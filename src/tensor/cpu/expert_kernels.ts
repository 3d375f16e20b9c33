/**
 * The kernels of `native/cpu/experts.c`: checks, then the call.
 * @module
 */
import type { CpuContext } from "./context.ts";
import { descriptorOf } from "./linear_weight.ts";
import type { ExpertKernels } from "../expert_kernels.ts";
import { checkCount, checkMatrix, checkVector } from "../kernel_arguments.ts";
import type { LinearWeight } from "../linear_kernels.ts";

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
  //     int32_t x_stride, const weft_weight* const* weights, const int32_t* order,
  //     const int32_t* offsets, int32_t num_experts, int32_t input_divisor, int32_t block_size)
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
      "i32",
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

const MAX_EXPERTS = 1024;

/** The kernels of mixtures of experts, on the context's pool. */
export function cpuExpertKernels(
  { kernels, pool }: CpuContext<typeof CPU_EXPERT_SYMBOLS>,
): ExpertKernels {
  // Weights do not change while a model lives: their addresses are collected once a layer.
  const addressesOfLayer = new WeakMap<readonly LinearWeight[], BigUint64Array<ArrayBuffer>>();

  function addressesOf(weights: readonly LinearWeight[]): BigUint64Array<ArrayBuffer> {
    const known = addressesOfLayer.get(weights);
    if (known !== undefined) return known;
    checkExperts("groupedLinear", weights.length, 1);
    const { outFeatures, inFeatures } = weights[0];
    const addresses = BigUint64Array.from(weights, (weight, expert) => {
      if (weight.outFeatures !== outFeatures || weight.inFeatures !== inFeatures) {
        throw new RangeError(
          `Cannot run groupedLinear as expert ${expert} differs in shape from [${outFeatures}, ` +
            `${inFeatures}]: it is [${weight.outFeatures}, ${weight.inFeatures}]`,
        );
      }
      return descriptorOf(weight);
    });
    addressesOfLayer.set(weights, addresses);
    return addresses;
  }

  return {
    routeExperts(weights, experts, routerLogits, rows, options) {
      const { numExperts, topK, normalize } = options;
      checkExperts("routeExperts", numExperts, topK);
      checkMatrix("routeExperts", "routerLogits", routerLogits, rows, numExperts);
      checkVector("routeExperts", "weights", weights, rows * topK);
      checkVector("routeExperts", "experts", experts, rows * topK, "i32");
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
      checkExperts("sortByExpert", numExperts, topK);
      checkVector("sortByExpert", "order", order, rows * topK, "i32");
      checkVector("sortByExpert", "experts", experts, rows * topK, "i32");
      checkVector("sortByExpert", "offsets", offsets, numExperts + 1, "i32");
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
      const { pairs, inputDivisor, blockSize = 0 } = options;
      const addresses = addressesOf(weights);
      checkCount("groupedLinear", "inputDivisor", inputDivisor);
      checkCount("groupedLinear", "blockSize", blockSize);
      checkMatrix("groupedLinear", "out", out, pairs, weights[0].outFeatures);
      const sources = inputDivisor === 0 ? pairs : Math.ceil(pairs / inputDivisor);
      checkMatrix("groupedLinear", "x", x, sources, weights[0].inFeatures);
      checkVector("groupedLinear", "order", order, pairs, "i32");
      checkVector("groupedLinear", "offsets", offsets, weights.length + 1, "i32");
      kernels.weft_grouped_linear(
        pool,
        out.address,
        out.rowStride,
        x.address,
        x.rowStride,
        addresses,
        order.address,
        offsets.address,
        weights.length,
        inputDivisor,
        blockSize,
      );
    },

    combineExperts(out, y, weights, order, rows, options) {
      const { topK, size } = options;
      checkMatrix("combineExperts", "out", out, rows, size);
      checkMatrix("combineExperts", "y", y, rows * topK, size);
      checkVector("combineExperts", "weights", weights, rows * topK);
      checkVector("combineExperts", "order", order, rows * topK, "i32");
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

function checkExperts(kernel: string, numExperts: number, topK: number): void {
  const valid = Number.isInteger(numExperts) && Number.isInteger(topK) && topK >= 1 &&
    topK <= numExperts && numExperts <= MAX_EXPERTS;
  if (!valid) {
    throw new RangeError(
      `Cannot run ${kernel} as it takes 1 to ${MAX_EXPERTS} experts and at most as many choices: ` +
        `${numExperts} experts, ${topK} choices`,
    );
  }
}
