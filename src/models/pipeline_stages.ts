/**
 * Cuts a model's layers into pipeline stages.
 * @module
 */
import { dtypeBytes } from "../tensor/dtype.ts";
import type { Stage } from "./family.ts";
import type { ModelConfig } from "./model_config.ts";
import { announcesLayer } from "./quantized_layer.ts";

/** What a cut depends on. */
export interface StageBalance {
  /** Decoder layers. */
  readonly numLayers: number;
  /** Pipeline stages. */
  readonly stages: number;
  /** What computing logits costs a decode step, in layers. */
  readonly headLayers: number;
}

/**
 * Layers of each stage. The last stage also computes logits: in a decode step they cost as much as
 * `headLayers` layers, in prefill, where a prompt needs one row of them, nothing to speak of. No cut is
 * best for both, so the one is taken whose slowest stage exceeds a fair share least in the worse of the
 * two.
 *
 * @throws {RangeError} when there are more stages than layers.
 */
export function balanceStages({ numLayers, stages, headLayers }: StageBalance): number[] {
  if (stages > numLayers) {
    throw new RangeError(
      `Cannot cut the model into ${stages} pipeline stages as every stage needs a layer: ` +
        `the model has ${numLayers}`,
    );
  }
  if (stages === 1) return [numLayers];
  const others = stages - 1;
  const excess = (last: number): { readonly worse: number; readonly sum: number } => {
    const most = Math.ceil((numLayers - last) / others);
    const prefill = Math.max(most, last) / numLayers;
    const decode = Math.max(most, last + headLayers) / (numLayers + headLayers);
    return { worse: Math.max(prefill, decode), sum: prefill + decode };
  };
  let last = 1;
  for (let candidate = 2; candidate <= numLayers - others; candidate++) {
    const [best, next] = [excess(last), excess(candidate)];
    // Of equal cuts the one with more layers at the end leaves more room to the first stage.
    if (next.worse < best.worse || next.worse === best.worse && next.sum <= best.sum) {
      last = candidate;
    }
  }
  const rest = numLayers - last;
  const extra = rest % others;
  const first = Array.from(
    { length: others },
    (_, stage) => Math.floor(rest / others) + (stage < extra ? 1 : 0),
  );
  return [...first, last];
}

/**
 * What the output head costs a decode step, in layers: a weight costs the time of reading it, but one of
 * 4 bits no less than one of 8, as it must be unpacked (`bench/stage_costs.ts` measures it).
 */
export function headLayersOf(config: ModelConfig): number {
  const { quantization, vocabSize, hiddenSize } = config;
  const isDense = quantization !== null && !announcesLayer(quantization, "lm_head");
  const ratio = isDense ? dtypeBytes(config.dtype) : 1;
  return ratio * vocabSize * hiddenSize / layerWeights(config);
}

/** Layers of each stage, by what they cost. Throws as {@linkcode balanceStages} does. */
export function stagesByCost(config: ModelConfig, stages: number): number[] {
  const { numLayers } = config;
  return balanceStages({ numLayers, stages, headLayers: headLayersOf(config) });
}

/** Stage `rank` of stages with `layers` layers each. */
export function stageOf(layers: readonly number[], rank: number): Stage {
  const firstLayer = layers.slice(0, rank).reduce((sum, count) => sum + count, 0);
  return {
    firstLayer,
    endLayer: firstLayer + layers[rank],
    first: rank === 0,
    last: rank === layers.length - 1,
  };
}

/**
 * Checks a cut that someone asked for.
 *
 * @throws {RangeError} when it does not give every stage a layer and every layer a stage.
 */
export function verifyStages(
  layers: readonly number[],
  { numLayers, stages }: Pick<StageBalance, "numLayers" | "stages">,
): void {
  const total = layers.reduce((sum, count) => sum + count, 0);
  const isWhole = layers.every((count) => Number.isInteger(count) && count >= 1);
  if (layers.length === stages && isWhole && total === numLayers) return;
  throw new RangeError(
    `Cannot cut ${numLayers} layers as pipelineLayers must give each of ${stages} stages one or more, ` +
      `and all of them: current value is ${layers.join(",")}`,
  );
}

/** Weights of one layer that a token is multiplied by. */
export function layerWeights(config: ModelConfig): number {
  const { hiddenSize, intermediateSize, numHeads, numKvHeads, headDim, experts } = config;
  const attention = hiddenSize * headDim * (2 * numHeads + 2 * numKvHeads);
  const projections = config.activation === "silu" ? 3 : 2;
  const mlp = projections * hiddenSize * intermediateSize * (experts?.expertsPerToken ?? 1);
  return attention + mlp;
}
