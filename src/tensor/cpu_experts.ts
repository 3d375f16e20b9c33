/**
 * Mixture of experts on the CPU.
 * @module
 */
import type { CpuContext } from "./cpu_context.ts";
import { descriptorOf } from "./cpu_linear_weight.ts";
import type { LinearWeight } from "./device.ts";
import { checkCount, checkMatrix, checkVector } from "./kernel_arguments.ts";
import type { Tensor } from "./tensor.ts";

const MAX_EXPERTS = 1024;

/** The mixture-of-experts kernels of one CPU device. */
export class CpuExperts {
  readonly #context: CpuContext;
  // Weights do not change while a model lives: their addresses are collected once a layer.
  readonly #addresses = new WeakMap<readonly LinearWeight[], BigUint64Array<ArrayBuffer>>();

  /** Kernels that run on the context's pool. */
  constructor(context: CpuContext) {
    this.#context = context;
  }

  /** See {@linkcode Device.routeExperts}. */
  routeExperts(
    weights: Tensor,
    experts: Tensor,
    routerLogits: Tensor,
    rows: number,
    options: { numExperts: number; topK: number; normalize: boolean },
  ): void {
    const { numExperts, topK, normalize } = options;
    checkExperts("routeExperts", numExperts, topK);
    checkMatrix("routeExperts", "routerLogits", routerLogits, rows, numExperts);
    checkVector("routeExperts", "weights", weights, rows * topK);
    checkVector("routeExperts", "experts", experts, rows * topK, "i32");
    this.#context.kernels.weft_route_experts(
      this.#context.pool,
      weights.address,
      experts.address,
      routerLogits.address,
      routerLogits.rowStride,
      rows,
      numExperts,
      topK,
      normalize ? 1 : 0,
    );
  }

  /** See {@linkcode Device.sortByExpert}; throws RangeError where an expert does not exist. */
  sortByExpert(
    order: Tensor,
    offsets: Tensor,
    experts: Tensor,
    rows: number,
    options: { numExperts: number; topK: number },
  ): void {
    const { numExperts, topK } = options;
    checkExperts("sortByExpert", numExperts, topK);
    checkVector("sortByExpert", "order", order, rows * topK, "i32");
    checkVector("sortByExpert", "experts", experts, rows * topK, "i32");
    checkVector("sortByExpert", "offsets", offsets, numExperts + 1, "i32");
    const wrongPair = this.#context.kernels.weft_sort_by_expert(
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
  }

  /** See {@linkcode Device.groupedLinear}; a row's bits are those of `linear` on it. */
  groupedLinear(
    out: Tensor,
    x: Tensor,
    weights: readonly LinearWeight[],
    order: Tensor,
    offsets: Tensor,
    options: { pairs: number; inputDivisor: number; blockSize?: number },
  ): void {
    const { pairs, inputDivisor, blockSize = 0 } = options;
    const addresses = this.#addressesOf(weights);
    checkCount("groupedLinear", "inputDivisor", inputDivisor);
    checkCount("groupedLinear", "blockSize", blockSize);
    checkMatrix("groupedLinear", "out", out, pairs, weights[0].outFeatures);
    const sources = inputDivisor === 0 ? pairs : Math.ceil(pairs / inputDivisor);
    checkMatrix("groupedLinear", "x", x, sources, weights[0].inFeatures);
    checkVector("groupedLinear", "order", order, pairs, "i32");
    checkVector("groupedLinear", "offsets", offsets, weights.length + 1, "i32");
    this.#context.kernels.weft_grouped_linear(
      this.#context.pool,
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
  }

  #addressesOf(weights: readonly LinearWeight[]): BigUint64Array<ArrayBuffer> {
    const known = this.#addresses.get(weights);
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
    this.#addresses.set(weights, addresses);
    return addresses;
  }

  /** See {@linkcode Device.combineExperts}. */
  combineExperts(
    out: Tensor,
    y: Tensor,
    weights: Tensor,
    order: Tensor,
    rows: number,
    options: { topK: number; size: number },
  ): void {
    const { topK, size } = options;
    checkMatrix("combineExperts", "out", out, rows, size);
    checkMatrix("combineExperts", "y", y, rows * topK, size);
    checkVector("combineExperts", "weights", weights, rows * topK);
    checkVector("combineExperts", "order", order, rows * topK, "i32");
    this.#context.kernels.weft_combine_experts(
      this.#context.pool,
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
  }
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
