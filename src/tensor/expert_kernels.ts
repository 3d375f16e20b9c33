/**
 * The kernels of mixtures of experts.
 * @module
 */
import { checkActivations, checkCount, checkMatrix, checkVector } from "./kernel_arguments.ts";
import type { LinearWeight } from "./linear_kernels.ts";
import type { Tensor } from "./tensor.ts";

/** Routing of tokens to experts, their products, and the weighted sum. */
export interface ExpertKernels {
  /**
   * Mixture-of-experts routing. `weights` f32 and `experts` i32 are `[rows, topK]`, ordered by
   * expert number: softmax over all experts, top-k (ties to the lower expert), then divided by
   * their sum when `normalize`.
   */
  routeExperts(
    weights: Tensor,
    experts: Tensor,
    routerLogits: Tensor,
    rows: number,
    options: { numExperts: number; topK: number; normalize: boolean },
  ): void;

  /**
   * Sorts the `rows * topK` (token, choice) pairs by expert, stably: `order` i32 `[rows * topK]` holds
   * pair numbers, `offsets` i32 `[numExperts + 1]` where each expert's pairs begin. `experts` is what
   * {@linkcode routeExperts} wrote.
   */
  sortByExpert(
    order: Tensor,
    offsets: Tensor,
    experts: Tensor,
    rows: number,
    options: { numExperts: number; topK: number },
  ): void;

  /**
   * For each position i of `order` belonging to expert e: `out[i] = x[source(i)] * weights[e]^T`, where
   * source(i) is `order[i] / inputDivisor` (floor), or i itself when `inputDivisor` is 0. `x` is of the
   * activations' type, `out` of that or f32; all experts have one shape and format.
   */
  groupedLinear(
    out: Tensor,
    x: Tensor,
    weights: readonly LinearWeight[],
    order: Tensor,
    offsets: Tensor,
    options: { pairs: number; inputDivisor: number },
  ): void;

  /** `out[t] = sum over j = 0..topK-1 in order of weights[t, j] * y[inverse(t * topK + j)]`, y in sorted order. */
  combineExperts(
    out: Tensor,
    y: Tensor,
    weights: Tensor,
    order: Tensor,
    rows: number,
    options: { topK: number; size: number },
  ): void;
}

/** Most experts of a layer. */
export const MAX_EXPERTS = 1024;

/** `kernels` behind checks of their arguments, which throw RangeError. */
export function checkedExpertKernels(kernels: ExpertKernels): ExpertKernels {
  // Weights do not change while a model lives: they are checked once a layer.
  const checked = new WeakSet<readonly LinearWeight[]>();

  return {
    routeExperts(weights, experts, routerLogits, rows, options) {
      const { numExperts, topK } = options;
      checkExperts("routeExperts", numExperts, topK);
      checkMatrix("routeExperts", "routerLogits", routerLogits, rows, numExperts);
      checkVector("routeExperts", "weights", weights, rows * topK);
      checkVector("routeExperts", "experts", experts, rows * topK, "i32");
      kernels.routeExperts(weights, experts, routerLogits, rows, options);
    },

    sortByExpert(order, offsets, experts, rows, options) {
      const { numExperts, topK } = options;
      checkExperts("sortByExpert", numExperts, topK);
      checkVector("sortByExpert", "order", order, rows * topK, "i32");
      checkVector("sortByExpert", "experts", experts, rows * topK, "i32");
      checkVector("sortByExpert", "offsets", offsets, numExperts + 1, "i32");
      kernels.sortByExpert(order, offsets, experts, rows, options);
    },

    groupedLinear(out, x, weights, order, offsets, options) {
      const { pairs, inputDivisor } = options;
      if (!checked.has(weights)) {
        checkExpertWeights(weights);
        checked.add(weights);
      }
      checkCount("groupedLinear", "inputDivisor", inputDivisor);
      checkActivations("groupedLinear", "out", out, pairs, weights[0].outFeatures);
      const sources = inputDivisor === 0 ? pairs : Math.ceil(pairs / inputDivisor);
      checkActivations("groupedLinear", "x", x, sources, weights[0].inFeatures);
      checkVector("groupedLinear", "order", order, pairs, "i32");
      checkVector("groupedLinear", "offsets", offsets, weights.length + 1, "i32");
      kernels.groupedLinear(out, x, weights, order, offsets, options);
    },

    combineExperts(out, y, weights, order, rows, options) {
      const { topK, size } = options;
      checkCount("combineExperts", "topK", topK);
      checkMatrix("combineExperts", "out", out, rows, size);
      checkMatrix("combineExperts", "y", y, rows * topK, size);
      checkVector("combineExperts", "weights", weights, rows * topK);
      checkVector("combineExperts", "order", order, rows * topK, "i32");
      kernels.combineExperts(out, y, weights, order, rows, options);
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

function checkExpertWeights(weights: readonly LinearWeight[]): void {
  checkExperts("groupedLinear", weights.length, 1);
  const { outFeatures, inFeatures, format } = weights[0];
  weights.forEach((weight, expert) => {
    if (
      weight.outFeatures !== outFeatures || weight.inFeatures !== inFeatures ||
      weight.format !== format
    ) {
      throw new RangeError(
        `Cannot run groupedLinear as expert ${expert} differs in shape or format from ${format} [${outFeatures}, ` +
          `${inFeatures}]: it is ${weight.format} [${weight.outFeatures}, ${weight.inFeatures}]`,
      );
    }
  });
}
