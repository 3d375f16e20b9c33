/**
 * generation_config.json: end tokens, and how the model's makers advise to sample.
 * @module
 */
import { ConfigReader } from "./config_reader.ts";
import { type JsonObject, type JsonValue, readJsonFile } from "./json_file.ts";

/** Sampling that a model's makers advise; what is absent has no advice. */
export interface DefaultSampling {
  /** Divides the logits; 0 is greedy. */
  readonly temperature?: number;
  /** Keep the k most likely tokens; 0 keeps all. */
  readonly topK?: number;
  /** Keep the smallest set of most likely tokens whose probability reaches this. */
  readonly topP?: number;
  /** Keep tokens at least this likely relative to the most likely one. */
  readonly minP?: number;
  /** Divides positive logits of tokens that occurred, and multiplies negative ones. */
  readonly repetitionPenalty?: number;
  /** Tokens to generate at most. */
  readonly maxTokens?: number;
}

/** What a generation_config.json says. */
export interface GenerationConfig {
  /** Token that begins a text, null when it is not said. */
  readonly bosTokenId: number | null;
  /** Tokens that end a generation, besides those of config.json. */
  readonly eosTokenIds: readonly number[];
  /** Defaults for requests that don't say how to sample. */
  readonly sampling: DefaultSampling;
  /** Advice that is not followed, as `key=value`, to be logged. */
  readonly ignored: readonly string[];
}

/** Settings that change which tokens come out, with the values at which they do nothing. */
const NEUTRAL: Readonly<Record<string, readonly JsonValue[]>> = {
  do_sample: [true, null],
  encoder_repetition_penalty: [1, null],
  typical_p: [1, null],
  epsilon_cutoff: [0, null],
  eta_cutoff: [0, null],
  top_h: [null],
  num_beams: [1, null],
  num_beam_groups: [1, null],
  penalty_alpha: [null],
  dola_layers: [null],
  no_repeat_ngram_size: [0, null],
  encoder_no_repeat_ngram_size: [0, null],
  min_length: [0, null],
  min_new_tokens: [null],
  max_time: [null],
  guidance_scale: [1, null],
  bad_words_ids: [[], null],
  force_words_ids: [[], null],
  constraints: [null],
  sequence_bias: [null],
  suppress_tokens: [[], null],
  begin_suppress_tokens: [[], null],
  forced_bos_token_id: [null],
  forced_eos_token_id: [null],
  stop_strings: [null],
  watermarking_config: [null],
};

const MAX_BYTES = 2 ** 20;

const NOTHING_SAID: GenerationConfig = {
  bosTokenId: null,
  eosTokenIds: [],
  sampling: {},
  ignored: [],
};

/**
 * Reads `generation_config.json` of `folder`; says nothing when there is no such file. Throws
 * ModelLoadError as {@linkcode parseGenerationConfig} does, and when the file cannot be read.
 */
export function readGenerationConfig(folder: string): GenerationConfig {
  const source = `${folder}/generation_config.json`;
  try {
    Deno.statSync(source);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return NOTHING_SAID;
    throw error;
  }
  return parseGenerationConfig(readJsonFile(source, MAX_BYTES), { source });
}

/**
 * Understands a parsed generation_config.json. temperature, top_k, top_p, min_p, repetition_penalty
 * and max_new_tokens become defaults, as vLLM's `--generation-config auto` takes them: whatever `do_sample` says.
 * Unknown keys are advice for other software. Throws ModelLoadError for wrong types and ranges.
 */
export function parseGenerationConfig(
  json: JsonObject,
  options: { source: string },
): GenerationConfig {
  const reader = new ConfigReader(json, options);
  const bosTokenIds = reader.tokenIds("bos_token_id");
  return {
    bosTokenId: bosTokenIds[0] ?? null,
    eosTokenIds: reader.tokenIds("eos_token_id"),
    sampling: readSampling(reader),
    ignored: Object.entries(NEUTRAL).flatMap(([key, neutral]) => {
      const value = reader.value(key);
      const text = JSON.stringify(value);
      return neutral.some((item) => JSON.stringify(item) === text) ? [] : [`${key}=${text}`];
    }),
  };
}

function readSampling(reader: ConfigReader): DefaultSampling {
  const given = (key: string) => reader.value(key) !== null;
  const count = { min: 1, max: 2 ** 31 - 1 };
  return {
    ...given("temperature") && {
      temperature: reader.number("temperature", { min: 0, max: 1e6 }),
    },
    // -1 is another way to say that all tokens are kept.
    ...given("top_k") && {
      topK: Math.max(0, reader.integer("top_k", { min: -1, max: count.max })),
    },
    ...given("top_p") && { topP: reader.number("top_p", { min: 1e-9, max: 1 }) },
    ...given("min_p") && { minP: reader.number("min_p", { min: 0, max: 1 }) },
    ...given("repetition_penalty") && {
      repetitionPenalty: reader.number("repetition_penalty", { min: 0.01, max: 100 }),
    },
    ...given("max_new_tokens") && { maxTokens: reader.integer("max_new_tokens", count) },
  };
}
