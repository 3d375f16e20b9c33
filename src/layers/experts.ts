/**
 * Mixture-of-experts feed-forward layer, every expert divided over the tensor-parallel ranks.
 * @module
 */
import type { LinearWeight } from "../tensor/linear_kernels.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { weightPart } from "./local_linear.ts";
import type { FeedForward, FeedForwardBuffers } from "./mlp.ts";
import { partition, type Shard } from "./partition.ts";
import { type LayerContext, loadLinear, matrixSlice } from "./weight_source.ts";

/** Describes a mixture-of-experts layer. */
export interface SparseMoeConfig {
  /** Name of the router. */
  readonly router: string;
  /** Names of each expert's three projections. */
  readonly expert: (index: number) => { gate: string; up: string; down: string };
  /** Number of experts. */
  readonly numExperts: number;
  /** Experts that each token visits. */
  readonly expertsPerToken: number;
  /** Whether the chosen experts' weights are divided by their sum. */
  readonly normalize: boolean;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Width inside one expert. */
  readonly intermediateSize: number;
}

/**
 * y = sum over the chosen experts, in order of their number, of weight_e * expert_e(x).
 *
 * The router runs whole on every rank and is never quantised; each expert's intermediate features are divided over the ranks.
 * Partial outputs are summed over the ranks expert by expert, before they are weighted, so the result
 * is the same bits on any layout (NUMERICS.md 7).
 *
 * Source: Jiang et al., "Mixtral of Experts" (arXiv 2401.04088).
 */
export class SparseMoe implements FeedForward {
  readonly #context: LayerContext;
  readonly #config: SparseMoeConfig;
  readonly #shard: Shard;
  readonly #router: LinearWeight;
  readonly #gateUp: LinearWeight[];
  readonly #down: LinearWeight[];
  readonly #buffers: {
    readonly logits: Tensor;
    readonly weights: Tensor;
    readonly experts: Tensor;
    readonly order: Tensor;
    readonly offsets: Tensor;
    readonly projected: Tensor;
    readonly activated: Tensor;
    readonly outputs: Tensor;
  };

  /** Reads the router and this rank's slice of every expert. */
  constructor(context: LayerContext, config: SparseMoeConfig, buffers: FeedForwardBuffers) {
    const { numExperts, expertsPerToken, hiddenSize, intermediateSize } = config;
    const { rank, size: parts } = context.tensorParallel;
    this.#context = context;
    this.#config = config;
    this.#shard = partition(intermediateSize, { rank, parts });
    const { start, count, blockSize } = this.#shard;
    const { quantization } = context;
    const router = context.weights.tensor(`${config.router}.weight`, [numExperts, hiddenSize]);
    // Which experts are visited must not depend on how a product rounds, where that can be had.
    const exact = (context.activationDtype ?? "f32") === "f32";
    this.#router = loadLinear(exact ? { ...context, format: "f32" } : context, [
      matrixSlice(router, {}),
    ]);
    const names = Array.from({ length: numExperts }, (_, index) => config.expert(index));
    const input = { inFeatures: hiddenSize, outFeatures: intermediateSize };
    this.#gateUp = names.map(({ gate, up }) => {
      const parts = [gate, up].map((name) =>
        weightPart(context, { name, ...input }, { firstRow: start, rows: count })
      );
      return loadLinear(context, parts, { quantization });
    });
    const output = { inFeatures: intermediateSize, outFeatures: hiddenSize };
    this.#down = names.map(({ down: name }) => {
      const slice = { firstColumn: start, columns: count };
      const part = weightPart(context, { name, ...output }, slice);
      return loadLinear(context, [part], { blockSize, quantization });
    });
    const repeat = expertsPerToken;
    const { activationDtype = "f32" } = context;
    this.#buffers = {
      logits: buffers.get("routerLogits", { width: numExperts, dtype: "f32" }),
      weights: buffers.get("expertWeights", { width: expertsPerToken, dtype: "f32" }),
      experts: buffers.get("expertIds", { width: expertsPerToken, dtype: "i32" }),
      order: buffers.get("expertOrder", { width: 1, repeat, dtype: "i32" }),
      offsets: buffers.get("expertOffsets", { width: numExperts + 1, dtype: "i32" }),
      projected: buffers.get("expertGateUp", { width: 2 * count, repeat, dtype: activationDtype }),
      activated: buffers.get("expertActivated", { width: count, repeat, dtype: activationDtype }),
      outputs: buffers.get("expertOutputs", { width: hiddenSize, repeat, dtype: "f32" }),
    };
  }

  /** See {@linkcode FeedForward.forward}. */
  forward(out: Tensor, x: Tensor, rows: number): void {
    const { device, tensorParallel } = this.#context;
    const { numExperts, expertsPerToken: topK, normalize, hiddenSize: size } = this.#config;
    const { count } = this.#shard;
    const { logits, weights, experts, order, offsets, projected, activated, outputs } =
      this.#buffers;
    const pairs = rows * topK;
    device.linear(logits, x, this.#router, rows);
    device.routeExperts(weights, experts, logits, rows, { numExperts, topK, normalize });
    device.sortByExpert(order, offsets, experts, rows, { numExperts, topK });
    const first = { pairs, inputDivisor: topK };
    device.groupedLinear(projected, x, this.#gateUp, order, offsets, first);
    device.siluAndMul(activated, projected, pairs, count);
    const second = { pairs, inputDivisor: 0 };
    device.groupedLinear(outputs, activated, this.#down, order, offsets, second);
    if (tensorParallel.size > 1) tensorParallel.allReduce(outputs.address, pairs * size);
    device.combineExperts(out, outputs, weights, order, rows, { topK, size });
  }

  /** Frees the weights. */
  [Symbol.dispose](): void {
    for (const weight of [this.#router, ...this.#gateUp, ...this.#down]) weight[Symbol.dispose]();
  }
}
