/**
 * The kernels of `native/cuda/experts.cu`, and products grouped by expert.
 * @module
 */
import type { ExpertKernels } from "../expert_kernels.ts";
import type { CudaContext } from "./context.ts";
import { partsShape } from "./elementwise_kernels.ts";
import { cudaGroupedLinear } from "./grouped_linear.ts";

const WARP_SIZE = 32;

/** Warps of a block: each takes a row to route, or an expert to sort for. */
const WARPS = 4;

const INVERT_THREADS = 256;

/** The kernels of mixtures of experts. */
export function cudaExpertKernels(context: CudaContext): ExpertKernels {
  const route = context.kernel("route_experts", [
    "pointer",
    "pointer",
    "pointer",
    "i32",
    "i32",
    "i32",
    "i32",
    "i32",
  ]);
  const sort = context.kernel("sort_by_expert", ["pointer", "pointer", "pointer", "i32", "i32"]);
  const invert = context.kernel("invert_order", ["pointer", "pointer", "i32"]);
  const combine = context.kernel("combine_experts", [
    "pointer",
    "i32",
    "pointer",
    "i32",
    "pointer",
    "pointer",
    "i32",
    "i32",
  ]);

  return {
    routeExperts(weights, experts, routerLogits, rows, { numExperts, topK, normalize }) {
      const shape = {
        grid: [Math.ceil(rows / WARPS)],
        threads: WARPS * WARP_SIZE,
        sharedBytes: 4 * WARPS * numExperts,
      } as const;
      route.launch(shape, [
        weights.address,
        experts.address,
        routerLogits.address,
        routerLogits.rowStride,
        rows,
        numExperts,
        topK,
        normalize ? 1 : 0,
      ]);
    },

    sortByExpert(order, offsets, experts, rows, { numExperts, topK }) {
      sort.launch({ grid: [Math.ceil(numExperts / WARPS)], threads: WARPS * WARP_SIZE }, [
        order.address,
        offsets.address,
        experts.address,
        rows * topK,
        numExperts,
      ]);
    },

    groupedLinear: cudaGroupedLinear(context),

    combineExperts(out, y, weights, order, rows, { topK, size }) {
      const pairs = rows * topK;
      const inverse = context.workspace(4 * pairs);
      invert.launch({ grid: [Math.ceil(pairs / INVERT_THREADS)], threads: INVERT_THREADS }, [
        inverse,
        order.address,
        pairs,
      ]);
      combine.launch(partsShape(rows, size), [
        out.address,
        out.rowStride,
        y.address,
        y.rowStride,
        weights.address,
        inverse,
        topK,
        size,
      ]);
    },
  };
}
