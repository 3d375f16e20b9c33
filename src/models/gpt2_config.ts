/**
 * config.json of GPT-2.
 * @module
 */
import { LIMITS, readCommon } from "./config_common.ts";
import type { ConfigReader } from "./config_reader.ts";
import type { FamilyConfig } from "./model_config.ts";

const ACTIVATIONS = { gelu_new: "gelu_tanh", gelu_pytorch_tanh: "gelu_tanh" } as const;

/** Reads the config of GPT-2. */
export function readGpt2Config(reader: ConfigReader): FamilyConfig {
  const hiddenSize = reader.integer("n_embd", LIMITS.hiddenSize);
  const numHeads = reader.integer("n_head", LIMITS.heads);
  const numLayers = reader.integer("n_layer", LIMITS.layers);
  const headDim = hiddenSize / numHeads;
  if (!Number.isInteger(headDim)) reader.refuse("n_head", `must divide n_embd ${hiddenSize}`);
  if (headDim > LIMITS.headDim.max) {
    reader.refuse("n_head", `gives heads larger than ${LIMITS.headDim.max}`);
  }
  return {
    ...readCommon(reader),
    modelType: "gpt2",
    hiddenSize,
    intermediateSize: reader.integer("n_inner", {
      ...LIMITS.intermediateSize,
      fallback: 4 * hiddenSize,
    }),
    numLayers,
    numHeads,
    numKvHeads: numHeads,
    headDim,
    maxPositionEmbeddings: reader.integer("n_positions", { ...LIMITS.positions, fallback: 1024 }),
    normEpsilon: reader.number("layer_norm_epsilon", { ...LIMITS.epsilon, fallback: 1e-5 }),
    tieWordEmbeddings: reader.boolean("tie_word_embeddings", true),
    attentionBias: true,
    attentionOutputBias: true,
    mlpBias: true,
    qkNorm: false,
    slidingWindows: new Array<number>(numLayers).fill(0),
    rope: null,
    activation: reader.choice("activation_function", ACTIVATIONS, "gelu_new"),
    experts: null,
  };
}
