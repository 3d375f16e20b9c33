/**
 * Keys of config.json that are known without being read. A family adds its own; what is in no list and
 * not read by the family is refused by name, so that no feature is approximated by ignoring it.
 * @module
 */
import type { KnownKeys } from "./config_reader.ts";

/** Joins lists of known keys; a key that is in two takes the later rule. */
export function joinKnownKeys(...parts: readonly Partial<KnownKeys>[]): KnownKeys {
  return {
    inert: parts.flatMap((part) => part.inert ?? []),
    inertAt: Object.assign({}, ...parts.map((part) => part.inertAt ?? {})),
  };
}

/** Keys that the transformers library may save with any model. */
export const COMMON_KEYS: KnownKeys = {
  inert: [
    // Where the file comes from, and how it was last loaded or converted.
    "_name_or_path",
    "_commit_hash",
    "_from_model_config",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_attn_implementation_internal",
    "_experts_implementation",
    "_flash_attn_2_enabled",
    "unsloth_fixed",
    "unsloth_version",
    "transformers_version",
    "transformers.js_config",
    "tokenizer_class",
    "prefix",
    // Training.
    "initializer_range",
    "gradient_checkpointing",
    "finetuning_task",
    "tf_legacy_loss",
    "use_bfloat16",
    // What Python returns, and how it computes.
    "use_cache",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "return_dict_in_generate",
    "output_scores",
    "torchscript",
    "chunk_size_feed_forward",
    // Ids that the tokenizer defines, and heads other than the language model's.
    "pad_token_id",
    "unk_token_id",
    "sep_token_id",
    "cls_token_id",
    "mask_token_id",
    "decoder_start_token_id",
    "id2label",
    "label2id",
    "num_labels",
    "_num_labels",
    "problem_type",
    "task_specific_params",
    // Generation settings of old releases; they come from generation_config.json now.
    "max_length",
    "min_length",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "diversity_penalty",
    "num_return_sequences",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "length_penalty",
    "remove_invalid_values",
  ],
  inertAt: {
    add_cross_attention: [false],
    cross_attention_hidden_size: [null],
    is_decoder: [false, true],
    is_encoder_decoder: [false],
    tie_encoder_decoder: [false],
    pruned_heads: [{}, null],
    repetition_penalty: [1, null],
    no_repeat_ngram_size: [0, null],
    encoder_no_repeat_ngram_size: [0, null],
    bad_words_ids: [null],
    forced_bos_token_id: [null],
    forced_eos_token_id: [null],
    suppress_tokens: [null],
    begin_suppress_tokens: [null],
    exponential_decay_length_penalty: [null],
  },
};
