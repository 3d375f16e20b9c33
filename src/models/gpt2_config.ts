/**
 * config.json of GPT-2.
 * @module
 */
import { LIMITS, readCommon } from "./config_common.ts";
import { COMMON_KEYS, joinKnownKeys } from "./config_keys.ts";
import type { ConfigReader, KnownKeys } from "./config_reader.ts";
import type { FamilyConfig } from "./family.ts";

/** Keys that GPT-2 accepts without reading them. */
export const GPT2_KEYS: KnownKeys = joinKnownKeys(COMMON_KEYS, {
  inert: [
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "n_ctx",
    "n_special",
    "predict_special_tokens",
    "output_past",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
  ],
  inertAt: {
    scale_attn_weights: [true],
    scale_attn_by_inverse_layer_idx: [false],
    reorder_and_upcast_attn: [false],
  },
});

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
