/**
 * config.json of the Llama-shaped families: Llama, Mistral, Qwen2, Qwen3 and Mixtral.
 * @module
 */
import { LIMITS, readCommon, readLayerWindows } from "./config_common.ts";
import { COMMON_KEYS, joinKnownKeys } from "./config_keys.ts";
import type { ConfigReader, KnownKeys } from "./config_reader.ts";
import type { FamilyConfig } from "./family.ts";
import type { ExpertsConfig } from "./model_config.ts";
import { readRope } from "./rope_config.ts";

/** Families that share the shape of Llama, by their `model_type`. */
export type LlamaShaped = "llama" | "mistral" | "qwen2" | "qwen3" | "mixtral";

const SHARED_KEYS: KnownKeys = {
  inert: ["attention_dropout"],
  inertAt: {
    partial_rotary_factor: [1, null],
    rope_interleaved: [false],
  },
};

const FAMILY_KEYS: Readonly<Record<LlamaShaped, Partial<KnownKeys>>> = {
  llama: {
    inert: ["max_sequence_length"],
    inertAt: {
      // Values above 1 cut the products in pieces, which rounds differently.
      pretraining_tp: [1, null],
      is_llama_config: [true],
      sliding_window: [null],
      use_sliding_window: [false],
    },
  },
  mistral: { inertAt: { attention_bias: [false], mlp_bias: [false] } },
  mixtral: {
    inert: ["output_router_logits", "router_aux_loss_coef", "router_jitter_noise"],
    inertAt: { attention_bias: [false], mlp_bias: [false] },
  },
  qwen2: { inertAt: { use_mrope: [false], mlp_bias: [false] } },
  qwen3: { inertAt: { mlp_bias: [false] } },
};

/** Keys that the Llama-shaped family `modelType` accepts without reading them. */
export function llamaKeys(modelType: LlamaShaped): KnownKeys {
  return joinKnownKeys(COMMON_KEYS, SHARED_KEYS, FAMILY_KEYS[modelType]);
}

/** What a family takes when a key is absent (the defaults of transformers), and what it never says. */
interface FamilyDefaults {
  readonly maxPositions: number;
  readonly normEpsilon: number;
  readonly ropeTheta: number;
  /** Null: hidden size over heads. */
  readonly headDim: number | null;
  /** Null: as many as query heads. */
  readonly numKvHeads: number | null;
}

const DEFAULTS: Readonly<Record<LlamaShaped, FamilyDefaults>> = {
  llama: {
    maxPositions: 2048,
    normEpsilon: 1e-6,
    ropeTheta: 1e4,
    headDim: null,
    numKvHeads: null,
  },
  mistral: {
    maxPositions: 131072,
    normEpsilon: 1e-6,
    ropeTheta: 1e4,
    headDim: null,
    numKvHeads: 8,
  },
  mixtral: {
    maxPositions: 131072,
    normEpsilon: 1e-5,
    ropeTheta: 1e6,
    headDim: null,
    numKvHeads: 8,
  },
  qwen2: { maxPositions: 32768, normEpsilon: 1e-6, ropeTheta: 1e4, headDim: null, numKvHeads: 32 },
  qwen3: { maxPositions: 32768, normEpsilon: 1e-6, ropeTheta: 1e4, headDim: 128, numKvHeads: 32 },
};

const ACTIVATIONS = { silu: "silu", swish: "silu" } as const;

/** Reads the config of the Llama-shaped family `modelType`. */
export function readLlamaConfig(reader: ConfigReader, modelType: LlamaShaped): FamilyConfig {
  const defaults = DEFAULTS[modelType];
  const hiddenSize = reader.integer("hidden_size", LIMITS.hiddenSize);
  const numHeads = reader.integer("num_attention_heads", LIMITS.heads);
  const numLayers = reader.integer("num_hidden_layers", LIMITS.layers);
  const maxPositionEmbeddings = reader.integer("max_position_embeddings", {
    ...LIMITS.positions,
    fallback: defaults.maxPositions,
  });
  const headDim = readHeadDim(reader, { hiddenSize, numHeads, fallback: defaults.headDim });
  return {
    ...readCommon(reader),
    hiddenSize,
    intermediateSize: reader.integer("intermediate_size", LIMITS.intermediateSize),
    numLayers,
    numHeads,
    numKvHeads: readKvHeads(reader, { numHeads, fallback: defaults.numKvHeads }),
    headDim,
    maxPositionEmbeddings,
    normEpsilon: reader.number("rms_norm_eps", {
      ...LIMITS.epsilon,
      fallback: defaults.normEpsilon,
    }),
    tieWordEmbeddings: reader.boolean("tie_word_embeddings", false),
    ...readBiases(reader, modelType),
    qkNorm: modelType === "qwen3",
    slidingWindows: readSlidingWindows(reader, { modelType, numLayers }),
    rope: readRope(reader, { theta: defaults.ropeTheta, rotaryDim: headDim }),
    activation: reader.choice("hidden_act", ACTIVATIONS, "silu"),
    experts: modelType === "mixtral" ? readExperts(reader) : null,
  };
}

function readHeadDim(
  reader: ConfigReader,
  options: { hiddenSize: number; numHeads: number; fallback: number | null },
): number {
  const { hiddenSize, numHeads, fallback } = options;
  if (reader.value("head_dim") === null && fallback === null && hiddenSize % numHeads !== 0) {
    reader.refuse("num_attention_heads", `must divide hidden_size ${hiddenSize} without head_dim`);
  }
  return reader.integer("head_dim", {
    ...LIMITS.headDim,
    fallback: fallback ?? hiddenSize / numHeads,
  });
}

function readKvHeads(
  reader: ConfigReader,
  options: { numHeads: number; fallback: number | null },
): number {
  const { numHeads, fallback } = options;
  const numKvHeads = reader.integer("num_key_value_heads", {
    ...LIMITS.heads,
    fallback: fallback ?? numHeads,
  });
  if (numHeads % numKvHeads !== 0) {
    reader.refuse("num_key_value_heads", `must divide num_attention_heads ${numHeads}`);
  }
  return numKvHeads;
}

function readBiases(
  reader: ConfigReader,
  modelType: LlamaShaped,
): { attentionBias: boolean; attentionOutputBias: boolean; mlpBias: boolean } {
  switch (modelType) {
    case "llama": {
      const bias = reader.boolean("attention_bias", false);
      return {
        attentionBias: bias,
        attentionOutputBias: bias,
        mlpBias: reader.boolean("mlp_bias", false),
      };
    }
    case "qwen3": {
      const bias = reader.boolean("attention_bias", false);
      return { attentionBias: bias, attentionOutputBias: bias, mlpBias: false };
    }
    case "qwen2":
      return { attentionBias: true, attentionOutputBias: false, mlpBias: false };
    default:
      return { attentionBias: false, attentionOutputBias: false, mlpBias: false };
  }
}

function readSlidingWindows(
  reader: ConfigReader,
  options: { modelType: LlamaShaped; numLayers: number },
): number[] {
  const { modelType, numLayers } = options;
  const everyLayer = (window: number): number[] => new Array<number>(numLayers).fill(window);
  switch (modelType) {
    case "llama":
      return readLayerWindows(reader, { windows: everyLayer(0), window: 0 });
    case "mistral":
    case "mixtral": {
      // MistralConfig has a window unless told otherwise; MixtralConfig has none.
      const fallback = modelType === "mistral" && !reader.has("sliding_window") ? 4096 : 0;
      const window = readWindow(reader, fallback);
      return readLayerWindows(reader, { windows: everyLayer(window), window });
    }
    default: {
      // Qwen: only when switched on, and only from layer max_window_layers on.
      const enabled = reader.boolean("use_sliding_window", false);
      const stored = readWindow(reader, reader.has("sliding_window") ? 0 : 4096);
      const window = enabled ? stored : 0;
      const firstLayer = reader.integer("max_window_layers", { min: 0, max: 4096, fallback: 28 });
      const windows = everyLayer(0).map((_, layer) => layer >= firstLayer ? window : 0);
      return readLayerWindows(reader, { windows, window, layerTypesDecide: true });
    }
  }
}

/** The window, `fallback` when it is null or absent; 0 is none. */
function readWindow(reader: ConfigReader, fallback: number): number {
  return reader.value("sliding_window") === null
    ? fallback
    : reader.integer("sliding_window", LIMITS.window);
}

function readExperts(reader: ConfigReader): ExpertsConfig {
  const numExperts = reader.integer("num_local_experts", { ...LIMITS.experts, fallback: 8 });
  const expertsPerToken = reader.integer("num_experts_per_tok", {
    min: 1,
    max: numExperts,
    fallback: 2,
  });
  return { numExperts, expertsPerToken, normalize: true };
}
