/**
 * config.json of real models, for random weights of their shape.
 * @module
 */
import type { JsonObject } from "./json_file.ts";

const LLAMA: JsonObject = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_act: "silu",
  attention_bias: false,
  mlp_bias: false,
  rms_norm_eps: 1e-5,
};

const SMOLLM: JsonObject = {
  ...LLAMA,
  vocab_size: 49152,
  max_position_embeddings: 2048,
  rope_theta: 10000,
  tie_word_embeddings: true,
  bos_token_id: 0,
  eos_token_id: 0,
};

const LLAMA3: JsonObject = {
  ...LLAMA,
  vocab_size: 128256,
  max_position_embeddings: 131072,
  rope_theta: 500000,
  bos_token_id: 128000,
  eos_token_id: 128001,
};

const LLAMA3_ROPE: JsonObject = {
  rope_type: "llama3",
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};

/** Name of a preset. */
export type PresetName =
  | "tiny"
  | "mixtral-tiny"
  | "smollm-135m"
  | "smollm-360m"
  | "llama-3.2-1b"
  | "llama-3.2-3b"
  | "llama-3.1-8b"
  | "mistral-7b"
  | "qwen2.5-0.5b"
  | "qwen3-0.6b"
  | "gpt2";

const PRESETS: Readonly<Record<PresetName, JsonObject>> = {
  // A Llama of toy size, for tests.
  tiny: {
    ...LLAMA,
    hidden_size: 64,
    intermediate_size: 160,
    num_hidden_layers: 4,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    vocab_size: 320,
    max_position_embeddings: 512,
    rope_theta: 10000,
    tie_word_embeddings: false,
    bos_token_id: 0,
    eos_token_id: 1,
  },
  // A Mixtral of toy size, for tests.
  "mixtral-tiny": {
    architectures: ["MixtralForCausalLM"],
    model_type: "mixtral",
    hidden_act: "silu",
    hidden_size: 256,
    intermediate_size: 512,
    num_hidden_layers: 4,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    num_local_experts: 8,
    num_experts_per_tok: 2,
    vocab_size: 2048,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 1000000,
    sliding_window: null,
    tie_word_embeddings: false,
    bos_token_id: 1,
    eos_token_id: 2,
  },
  "smollm-135m": {
    ...SMOLLM,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
  },
  "smollm-360m": {
    ...SMOLLM,
    hidden_size: 960,
    intermediate_size: 2560,
    num_hidden_layers: 32,
    num_attention_heads: 15,
    num_key_value_heads: 5,
  },
  "llama-3.2-1b": {
    ...LLAMA3,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    rope_scaling: { ...LLAMA3_ROPE, factor: 32 },
    tie_word_embeddings: true,
  },
  "llama-3.2-3b": {
    ...LLAMA3,
    hidden_size: 3072,
    intermediate_size: 8192,
    num_hidden_layers: 28,
    num_attention_heads: 24,
    num_key_value_heads: 8,
    head_dim: 128,
    rope_scaling: { ...LLAMA3_ROPE, factor: 32 },
    tie_word_embeddings: true,
  },
  "llama-3.1-8b": {
    ...LLAMA3,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    rope_scaling: { ...LLAMA3_ROPE, factor: 8 },
    tie_word_embeddings: false,
  },
  "mistral-7b": {
    architectures: ["MistralForCausalLM"],
    model_type: "mistral",
    hidden_act: "silu",
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    vocab_size: 32000,
    max_position_embeddings: 32768,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    sliding_window: 4096,
    tie_word_embeddings: false,
    bos_token_id: 1,
    eos_token_id: 2,
  },
  "qwen2.5-0.5b": {
    architectures: ["Qwen2ForCausalLM"],
    model_type: "qwen2",
    hidden_act: "silu",
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    vocab_size: 151936,
    max_position_embeddings: 32768,
    rms_norm_eps: 1e-6,
    rope_theta: 1000000,
    use_sliding_window: false,
    tie_word_embeddings: true,
    bos_token_id: 151643,
    eos_token_id: 151643,
  },
  "qwen3-0.6b": {
    architectures: ["Qwen3ForCausalLM"],
    model_type: "qwen3",
    hidden_act: "silu",
    attention_bias: false,
    hidden_size: 1024,
    intermediate_size: 3072,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    head_dim: 128,
    vocab_size: 151936,
    max_position_embeddings: 40960,
    rms_norm_eps: 1e-6,
    rope_theta: 1000000,
    use_sliding_window: false,
    tie_word_embeddings: true,
    bos_token_id: 151643,
    eos_token_id: 151645,
  },
  gpt2: {
    architectures: ["GPT2LMHeadModel"],
    model_type: "gpt2",
    activation_function: "gelu_new",
    n_embd: 768,
    n_head: 12,
    n_layer: 12,
    n_positions: 1024,
    layer_norm_epsilon: 1e-5,
    vocab_size: 50257,
    bos_token_id: 50256,
    eos_token_id: 50256,
  },
};

/** Names of all presets. */
export const PRESET_NAMES: readonly PresetName[] = Object.keys(PRESETS) as PresetName[];

/** A fresh copy of the config.json of preset `name`; throws RangeError for a name that is not one. */
export function presetConfig(name: string): JsonObject {
  if (!Object.hasOwn(PRESETS, name)) {
    throw new RangeError(
      `Cannot find preset "${name}": the presets are ${PRESET_NAMES.join(", ")}`,
    );
  }
  return structuredClone(PRESETS[name as PresetName]);
}
