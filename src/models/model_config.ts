/**
 * What a model is, in one form for every family.
 * @module
 */
import type { RopeConfig } from "../layers/rotary_embedding.ts";
import type { WeightDType } from "../tensor/dtype.ts";
import { ConfigReader } from "./config_reader.ts";
import { ModelLoadError } from "./errors.ts";
import { isJsonObject, readJsonFile } from "./json_file.ts";
import { type QuantizationConfig, readQuantization } from "./quantization_config.ts";
import { FAMILIES } from "./registry.ts";

/** Mixture-of-experts feed-forward layers. */
export interface ExpertsConfig {
  /** Experts in each layer. */
  readonly numExperts: number;
  /** Experts that each token visits. */
  readonly expertsPerToken: number;
  /** Whether the chosen experts' weights are divided by their sum. */
  readonly normalize: boolean;
}

/**
 * A decoder-only transformer. Plain data: it can be posted to a Worker. Every number has been
 * checked, so sizes computed from it are safe integers.
 */
export interface ModelConfig {
  /** Model class as transformers names it, such as `LlamaForCausalLM`. */
  readonly architecture: string;
  /** Family, by the `model_type` of config.json. */
  readonly modelType: string;
  /** Entries of the vocabulary. */
  readonly vocabSize: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Width of the feed-forward layer (of one expert in a mixture). */
  readonly intermediateSize: number;
  /** Decoder layers. */
  readonly numLayers: number;
  /** Query heads. */
  readonly numHeads: number;
  /** Key/value heads; divides `numHeads`. */
  readonly numKvHeads: number;
  /** Elements of a head. `numHeads * headDim` need not be `hiddenSize`. */
  readonly headDim: number;
  /** Positions that the model was trained for. */
  readonly maxPositionEmbeddings: number;
  /** Added to the variance in norms. */
  readonly normEpsilon: number;
  /** Whether the output head is the embedding matrix. */
  readonly tieWordEmbeddings: boolean;
  /** Biases on the query, key and value projections. */
  readonly attentionBias: boolean;
  /** Bias on the attention's output projection. */
  readonly attentionOutputBias: boolean;
  /** Biases in the feed-forward layer. */
  readonly mlpBias: boolean;
  /** RMSNorm over each query and key head (Qwen3). */
  readonly qkNorm: boolean;
  /** For each layer, the keys that a query sees, itself included; 0 means all. */
  readonly slidingWindows: readonly number[];
  /** Rotary embedding; null where positions are learned (GPT-2). */
  readonly rope: RopeConfig | null;
  /** Activation of the feed-forward layer: gated SiLU, or GELU in its tanh form. */
  readonly activation: "silu" | "gelu_tanh";
  /** Mixture of experts; null in a dense model. */
  readonly experts: ExpertsConfig | null;
  /** How linear layers are quantised; null in a dense checkpoint. */
  readonly quantization: QuantizationConfig | null;
  /** Storage type that the config announces (`f32` when it says nothing). */
  readonly dtype: WeightDType;
  /** Token that begins a text, if there is one. */
  readonly bosTokenId: number | null;
  /** Tokens that end a generation. */
  readonly eosTokenIds: readonly number[];
}

/** Largest config.json that is read. */
export const MAX_CONFIG_BYTES = 16 * 2 ** 20;

/**
 * Reads the config.json of the Hugging Face checkpoint in `folder`; throws ModelLoadError as
 * {@linkcode parseModelConfig} does, and when the file cannot be read.
 *
 * @example
 * ```ts
 * import { readModelConfig } from "@weft/weft";
 * console.log(readModelConfig("models/demo").numLayers); // 4
 * ```
 */
export function readModelConfig(folder: string): ModelConfig {
  const source = `${folder}/config.json`;
  return parseModelConfig(readJsonFile(source, MAX_CONFIG_BYTES), { source });
}

/**
 * Understands a parsed config.json; `source` names it in errors. Every key must be one that the
 * family uses, one that has no effect, or one at the value where it has none: throws ModelLoadError
 * naming the key otherwise, and for wrong types, ranges and contradictions.
 */
export function parseModelConfig(json: unknown, options: { source: string }): ModelConfig {
  const { source } = options;
  if (!isJsonObject(json)) {
    throw new ModelLoadError(`Cannot load ${source} as it is not a JSON object`, { file: source });
  }
  const reader = new ConfigReader(json, { source });
  const family = reader.choice("model_type", Object.fromEntries(FAMILIES), "");
  const { architecture, modelType } = family;
  const architectures = reader.strings("architectures") ?? [architecture];
  if (architectures.length !== 1 || architectures[0] !== architecture) {
    reader.refuse("architectures", `is implemented only as ${architecture}`);
  }
  const quantization = readQuantization(reader);
  const config = { ...family.readConfig(reader), modelType, architecture, quantization };
  reader.finish(family.knownKeys, modelType);
  return config;
}
