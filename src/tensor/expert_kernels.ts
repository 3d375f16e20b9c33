/**
 * The kernels of mixtures of experts.
 * @module
 */
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
   * pair numbers, `offsets` i32 `[numExperts + 1]` where each expert's pairs begin.
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
   * source(i) is `order[i] / inputDivisor` (floor), or i itself when `inputDivisor` is 0.
   */
  groupedLinear(
    out: Tensor,
    x: Tensor,
    weights: readonly LinearWeight[],
    order: Tensor,
    offsets: Tensor,
    options: { pairs: number; inputDivisor: number; blockSize?: number },
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
