/**
 * Cuts a model's layers into pipeline stages.
 * @module
 */
import type { Stage } from "./family.ts";
import type { ModelConfig } from "./model_config.ts";

/**
 * The layers of a stage, cut so that the slowest stage is as fast as can be: the last stage also
 * computes logits, which costs a small model with a large vocabulary as much as many layers. A stage's
 * cost is the number of weights that a token is multiplied by.
 *
 * @throws {RangeError} when there are more stages than layers.
 */
export function stageOf(
  config: ModelConfig,
  options: { readonly rank: number; readonly stages: number },
): Stage {
  const { rank, stages } = options;
  const { numLayers } = config;
  if (stages > numLayers) {
    throw new RangeError(
      `Cannot cut the model into ${stages} pipeline stages as every stage needs a layer: ` +
        `the model has ${numLayers}`,
    );
  }
  const last = rank === stages - 1;
  const lastLayers = layersOfLastStage(config, stages);
  const others = numLayers - lastLayers;
  const base = Math.floor(others / (stages - 1));
  const extra = others % (stages - 1);
  const firstLayer = last ? others : rank * base + Math.min(rank, extra);
  const count = last ? lastLayers : base + (rank < extra ? 1 : 0);
  return { firstLayer, endLayer: firstLayer + count, first: rank === 0, last };
}

/** Layers of the last stage: those that make the larger of its cost and the others' smallest. */
function layersOfLastStage(config: ModelConfig, stages: number): number {
  const { numLayers, vocabSize, hiddenSize } = config;
  if (stages === 1) return numLayers;
  const layer = layerCost(config);
  const head = vocabSize * hiddenSize;
  let best = 1;
  let bestCost = Infinity;
  for (let layers = 1; layers <= numLayers - (stages - 1); layers++) {
    const others = Math.ceil((numLayers - layers) / (stages - 1)) * layer;
    const cost = Math.max(others, layers * layer + head);
    // Of equal cuts the one with more layers at the end leaves more room to the first stage.
    if (cost <= bestCost) [best, bestCost] = [layers, cost];
  }
  return best;
}

/** Weights of one layer that a token is multiplied by. */
function layerCost(config: ModelConfig): number {
  const { hiddenSize, intermediateSize, numHeads, numKvHeads, headDim, experts } = config;
  const attention = hiddenSize * headDim * (2 * numHeads + 2 * numKvHeads);
  const projections = config.activation === "silu" ? 3 : 2;
  const mlp = projections * hiddenSize * intermediateSize * (experts?.expertsPerToken ?? 1);
  return attention + mlp;
}
