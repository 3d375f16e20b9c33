/**
 * Fields that completions and chat completions share.
 * @module
 */
import { z } from "@hono/zod-openapi";
import {
  MAX_BAD_WORD_LENGTH,
  MAX_BAD_WORDS,
  MAX_LOGIT_BIAS,
  MAX_LOGIT_BIASES,
  MAX_PENALTY,
  REPETITION_PENALTIES,
} from "../../engine/logit_params.ts";
import {
  MAX_STOP_STRING_LENGTH,
  MAX_STOP_STRINGS,
  MAX_STOP_TOKEN_IDS,
} from "../../engine/sampling_params.ts";
import {
  MAX_ALLOWED_TOKEN_IDS,
  MAX_CACHE_SALT_LENGTH,
  MAX_CHOICES,
  MAX_LOGPROBS,
} from "./limits.ts";
import { neutral } from "./neutral.ts";

const stopText = z.string().min(1).max(MAX_STOP_STRING_LENGTH).refine(
  (text) => text.isWellFormed(),
  {
    error: "it holds half of a surrogate pair",
  },
);

const badWord = z.string().max(MAX_BAD_WORD_LENGTH).refine(
  (text) => text.trim() !== "" && text.isWellFormed(),
  { error: "it must be valid text, and not all spaces" },
);

const penalty = z.number().min(-MAX_PENALTY).max(MAX_PENALTY);

/** Implemented fields. Null means the same as absent throughout, as in OpenAI's API. */
export const samplingFields = {
  model: z.string().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({
    include_usage: z.boolean().nullish(),
    continuous_usage_stats: z.boolean().nullish(),
    include_obfuscation: neutral(false),
  }).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int32().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  presence_penalty: penalty.nullish(),
  frequency_penalty: penalty.nullish(),
  repetition_penalty: z.number().min(REPETITION_PENALTIES.min).max(REPETITION_PENALTIES.max)
    .nullish(),
  logit_bias: z.record(
    z.string().regex(/^(0|[1-9][0-9]{0,9})$/, { error: "it must name tokens by their ids" }),
    z.number().min(-MAX_LOGIT_BIAS).max(MAX_LOGIT_BIAS),
  ).refine((biases) => Object.keys(biases).length <= MAX_LOGIT_BIASES, {
    error: `it must have at most ${MAX_LOGIT_BIASES} entries`,
  }).nullish(),
  bad_words: z.array(badWord).max(MAX_BAD_WORDS).nullish(),
  allowed_token_ids: z.array(z.int32().min(0)).min(1).max(MAX_ALLOWED_TOKEN_IDS).nullish(),
  seed: z.int().nullish(),
  min_tokens: z.int32().min(0).nullish(),
  stop: z.union([stopText, z.array(stopText).max(MAX_STOP_STRINGS)], {
    error: `it must be a text or a list of at most ${MAX_STOP_STRINGS} texts`,
  }).nullish(),
  stop_token_ids: z.array(z.int32().min(0)).max(MAX_STOP_TOKEN_IDS).nullish(),
  include_stop_str_in_output: z.boolean().nullish(),
  skip_special_tokens: z.boolean().nullish(),
  ignore_eos: z.boolean().nullish(),
  return_token_ids: z.boolean().nullish(),
  return_tokens_as_token_ids: z.boolean().nullish().openapi({
    description: "Log-probabilities name tokens by number: token_id:ID.",
  }),
  n: z.int().min(1).max(MAX_CHOICES).nullish(),
  prompt_logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish(),
  truncate_prompt_tokens: z.int32().min(1).nullish().openapi({
    description: "Only so many of a prompt's last tokens are continued.",
  }),
  priority: z.int32().nullish().openapi({
    description:
      "Lower ones are served first. Other than 0 only with --scheduling-policy priority.",
  }),
  cache_salt: z.string().min(1).max(MAX_CACHE_SALT_LENGTH).nullish().openapi({
    description: "Only requests with the same salt share what is cached of their prompts.",
  }),
  cache_prompt: z.boolean().nullish().openapi({
    description: "False: nothing is taken from the prefix cache or left there. True when left out.",
  }),
} as const;

/** Fields that carry information for the caller only and change nothing in the answer. */
export const informationalFields = {
  user: z.string().nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  safety_identifier: z.string().nullish(),
  prompt_cache_key: z.string().nullish(),
} as const;

/** Known fields of OpenAI and vLLM that are not implemented yet. */
export const neutralFields = {
  typical_p: neutral(1),
  length_penalty: neutral(1),
  use_beam_search: neutral(false),
  spaces_between_special_tokens: neutral(true),
  response_format: neutral({ type: "text" }),
  structured_outputs: neutral(),
  guided_json: neutral(),
  guided_regex: neutral(),
  guided_choice: neutral(),
  guided_grammar: neutral(),
  logits_processors: neutral(),
  kv_transfer_params: neutral(),
  vllm_xargs: neutral(),
} as const;

/** What {@linkcode samplingFields} give. */
export type SamplingFields = z.output<z.ZodObject<typeof samplingFields>>;
