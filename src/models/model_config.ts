/**
 * What a model is, in one form for every family.
 * @module
 */
import type { RopeConfig } from "../layers/rotary_embedding.ts";
import type { WeightDType } from "../tensor/dtype.ts";
import { COMMON_KEYS, FAMILY_KEYS, joinKnownKeys, LLAMA_SHAPED_KEYS } from "./config_keys.ts";
import { ConfigReader, type KnownKeys } from "./config_reader.ts";
import { ModelLoadError } from "./errors.ts";
import { readGpt2Config } from "./gpt2_config.ts";
import { isJsonObject, readJsonFile } from "./json_file.ts";
import { type LlamaShaped, readLlamaConfig } from "./llama_config.ts";

/** Model families that can be served, by the `model_type` of their config.json. */
export type ModelType = "llama" | "mistral" | "qwen2" | "qwen3" | "mixtral" | "gpt2";

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
  /** Family. */
  readonly modelType: ModelType;
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
  /** Storage type that the config announces (`f32` when it says nothing). */
  readonly dtype: WeightDType;
  /** Token that begins a text, if there is one. */
  readonly bosTokenId: number | null;
  /** Tokens that end a generation. */
  readonly eosTokenIds: readonly number[];
}

/** A config as a family reads it; the architecture is known from the family. */
export type FamilyConfig = Omit<ModelConfig, "architecture">;

/** One family: the class that its config.json names, the keys it knows, and how it is read. */
interface ConfigFamily {
  readonly architecture: string;
  readonly knownKeys: KnownKeys;
  read(reader: ConfigReader): FamilyConfig;
}

const FAMILIES: Readonly<Record<ModelType, ConfigFamily>> = {
  llama: llamaShaped("llama", "LlamaForCausalLM"),
  mistral: llamaShaped("mistral", "MistralForCausalLM"),
  qwen2: llamaShaped("qwen2", "Qwen2ForCausalLM"),
  qwen3: llamaShaped("qwen3", "Qwen3ForCausalLM"),
  mixtral: llamaShaped("mixtral", "MixtralForCausalLM"),
  gpt2: {
    architecture: "GPT2LMHeadModel",
    knownKeys: joinKnownKeys(COMMON_KEYS, FAMILY_KEYS.gpt2),
    read: (reader) => readGpt2Config(reader),
  },
};

function llamaShaped(
  modelType: LlamaShaped,
  architecture: string,
): ConfigFamily {
  return {
    architecture,
    knownKeys: joinKnownKeys(COMMON_KEYS, LLAMA_SHAPED_KEYS, FAMILY_KEYS[modelType]),
    read: (reader) => readLlamaConfig(reader, modelType),
  };
}

/** Largest config.json that is read. */
const MAX_CONFIG_BYTES = 16 * 2 ** 20;

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
  const modelType = reader.choice(
    "model_type",
    Object.fromEntries(Object.keys(FAMILIES).map((type) => [type, type as ModelType])),
    "",
  );
  const quantization = json.quantization_config;
  if (isJsonObject(quantization)) {
    const method = JSON.stringify(quantization.quant_method ?? null);
    reader.refuse("quantization_config", `asks for quantization method ${method}, not implemented`);
  }
  const family = FAMILIES[modelType];
  const architectures = reader.strings("architectures") ?? [family.architecture];
  if (architectures.length !== 1 || architectures[0] !== family.architecture) {
    reader.refuse("architectures", `is implemented only as ${family.architecture}`);
  }
  const config = { ...family.read(reader), architecture: family.architecture };
  reader.finish(family.knownKeys, modelType);
  return config;
}
