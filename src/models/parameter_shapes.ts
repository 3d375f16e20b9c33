/**
 * Which tensors a checkpoint of each family holds, by their Hugging Face names.
 * @module
 */
import type { ModelConfig } from "./model_config.ts";

/** What a parameter is: a matrix, the scale of a norm, or something added. */
export type ParameterKind = "matrix" | "norm" | "bias";

/** A tensor that a checkpoint must hold. */
export interface ParameterShape {
  /** Name. GPT-2's carry the `transformer.` prefix, which stored names may lack. */
  readonly name: string;
  /** Sizes as stored: `[outFeatures, inFeatures]`, for GPT-2's layers the other way round. */
  readonly shape: readonly number[];
  /** What it is. */
  readonly kind: ParameterKind;
}

/**
 * Every tensor that a model of this config reads.
 *
 * @example
 * ```ts
 * import { parameterShapes, readModelConfig } from "@weft/weft";
 * console.log(parameterShapes(readModelConfig("models/demo")).length); // 38
 * ```
 */
export function parameterShapes(config: ModelConfig): ParameterShape[] {
  return config.modelType === "gpt2" ? gpt2Shapes(config) : llamaShapes(config);
}

/** Number of parameters of a model of this config; a tied output head counts once. */
export function parameterCount(config: ModelConfig): number {
  let count = 0;
  for (const { shape } of parameterShapes(config)) {
    count += shape.reduce((product, size) => product * size, 1);
  }
  return count;
}

/** How stored names may differ from the names that the model's code uses. */
export interface TensorNaming {
  /** Name that the model's code uses for a stored name. */
  canonical(stored: string): string;
  /** Whether a tensor (by its canonical name) may be there without being read. */
  isIgnorable(name: string): boolean;
}

/** Names as they are, nothing ignorable. */
export const PLAIN_NAMING: TensorNaming = {
  canonical: (stored) => stored,
  isIgnorable: () => false,
};

/**
 * The naming of a family: GPT-2's tensors are stored with and without `transformer.`; old checkpoints
 * store buffers that are computed (`inv_freq`, causal masks), and some a copy of a tied output head.
 */
export function tensorNaming(config: ModelConfig): TensorNaming {
  const isTiedHead = (name: string) => config.tieWordEmbeddings && name === "lm_head.weight";
  if (config.modelType === "gpt2") {
    return {
      canonical: (stored) =>
        stored.startsWith("transformer.") || stored.startsWith("lm_head.")
          ? stored
          : `transformer.${stored}`,
      isIgnorable: (name) => isTiedHead(name) || /\.h\.\d+\.attn\.(masked_)?bias$/.test(name),
    };
  }
  return {
    canonical: (stored) => stored,
    isIgnorable: (name) => isTiedHead(name) || /\.rotary_emb\.inv_freq$/.test(name),
  };
}

/** Collects parameters under the names of linears and norms. */
class ShapeList {
  readonly shapes: ParameterShape[] = [];

  matrix(name: string, shape: readonly number[]): void {
    this.shapes.push({ name: `${name}.weight`, shape, kind: "matrix" });
  }

  bias(name: string, size: number): void {
    this.shapes.push({ name: `${name}.bias`, shape: [size], kind: "bias" });
  }

  norm(name: string, size: number): void {
    this.shapes.push({ name: `${name}.weight`, shape: [size], kind: "norm" });
  }

  /** A linear stored `[outFeatures, inFeatures]`. */
  linear(name: string, shape: readonly [number, number], bias: boolean): void {
    this.matrix(name, shape);
    if (bias) this.bias(name, shape[0]);
  }
}

function llamaShapes(config: ModelConfig): ParameterShape[] {
  const { hiddenSize, vocabSize, headDim } = config;
  const list = new ShapeList();
  list.matrix("model.embed_tokens", [vocabSize, hiddenSize]);
  for (let layer = 0; layer < config.numLayers; layer++) {
    const prefix = `model.layers.${layer}`;
    const attention = `${prefix}.self_attn`;
    const querySize = config.numHeads * headDim;
    const kvSize = config.numKvHeads * headDim;
    list.norm(`${prefix}.input_layernorm`, hiddenSize);
    list.linear(`${attention}.q_proj`, [querySize, hiddenSize], config.attentionBias);
    list.linear(`${attention}.k_proj`, [kvSize, hiddenSize], config.attentionBias);
    list.linear(`${attention}.v_proj`, [kvSize, hiddenSize], config.attentionBias);
    if (config.qkNorm) {
      list.norm(`${attention}.q_norm`, headDim);
      list.norm(`${attention}.k_norm`, headDim);
    }
    list.linear(`${attention}.o_proj`, [hiddenSize, querySize], config.attentionOutputBias);
    list.norm(`${prefix}.post_attention_layernorm`, hiddenSize);
    feedForward(list, prefix, config);
  }
  list.norm("model.norm", hiddenSize);
  if (!config.tieWordEmbeddings) list.matrix("lm_head", [vocabSize, hiddenSize]);
  return list.shapes;
}

function feedForward(list: ShapeList, prefix: string, config: ModelConfig): void {
  const { hiddenSize, intermediateSize, mlpBias, experts } = config;
  if (experts === null) {
    list.linear(`${prefix}.mlp.gate_proj`, [intermediateSize, hiddenSize], mlpBias);
    list.linear(`${prefix}.mlp.up_proj`, [intermediateSize, hiddenSize], mlpBias);
    list.linear(`${prefix}.mlp.down_proj`, [hiddenSize, intermediateSize], mlpBias);
    return;
  }
  const moe = `${prefix}.block_sparse_moe`;
  list.matrix(`${moe}.gate`, [experts.numExperts, hiddenSize]);
  for (let expert = 0; expert < experts.numExperts; expert++) {
    list.matrix(`${moe}.experts.${expert}.w1`, [intermediateSize, hiddenSize]);
    list.matrix(`${moe}.experts.${expert}.w2`, [hiddenSize, intermediateSize]);
    list.matrix(`${moe}.experts.${expert}.w3`, [intermediateSize, hiddenSize]);
  }
}

function gpt2Shapes(config: ModelConfig): ParameterShape[] {
  const { hiddenSize, vocabSize, intermediateSize } = config;
  const list = new ShapeList();
  // Conv1D: stored [inFeatures, outFeatures].
  const conv1d = (name: string, inFeatures: number, outFeatures: number) => {
    list.matrix(name, [inFeatures, outFeatures]);
    list.bias(name, outFeatures);
  };
  const layerNorm = (name: string) => {
    list.norm(name, hiddenSize);
    list.bias(name, hiddenSize);
  };
  list.matrix("transformer.wte", [vocabSize, hiddenSize]);
  list.matrix("transformer.wpe", [config.maxPositionEmbeddings, hiddenSize]);
  for (let layer = 0; layer < config.numLayers; layer++) {
    const prefix = `transformer.h.${layer}`;
    layerNorm(`${prefix}.ln_1`);
    conv1d(`${prefix}.attn.c_attn`, hiddenSize, 3 * hiddenSize);
    conv1d(`${prefix}.attn.c_proj`, hiddenSize, hiddenSize);
    layerNorm(`${prefix}.ln_2`);
    conv1d(`${prefix}.mlp.c_fc`, hiddenSize, intermediateSize);
    conv1d(`${prefix}.mlp.c_proj`, intermediateSize, hiddenSize);
  }
  layerNorm("transformer.ln_f");
  if (!config.tieWordEmbeddings) list.matrix("lm_head", [vocabSize, hiddenSize]);
  return list.shapes;
}
