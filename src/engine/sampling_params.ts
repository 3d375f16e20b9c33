/**
 * Completes and checks the sampling parameters of a request.
 * @module
 */
import {
  allowedTokenIds,
  badWords,
  logitBias,
  penalty,
  repetitionPenalty,
} from "./logit_params.ts";
import { boolean, integer, number, refused, shown } from "./param_checks.ts";
import { type SamplingParams, UnsupportedRequestError } from "./types.ts";

/** Stop texts of one request at most. */
export const MAX_STOP_STRINGS = 16;

/** UTF-16 code units of one stop text at most. */
export const MAX_STOP_STRING_LENGTH = 1024;

/** Stop token ids of one request at most. */
export const MAX_STOP_TOKEN_IDS = 1024;

/** Log-probabilities that one request may ask for in all: positions times tokens reported at each. */
const MAX_REPORTED_LOGPROBS = 2 ** 22;

/**
 * Positive temperatures below this are greedy: the noise of a draw would weigh less than the
 * rounding of the logits, and dividing by them can overflow.
 */
const MIN_TEMPERATURE = 1e-5;

/** Sampling parameters as a caller gives them: any may be left out, the seed may be a number. */
export type SamplingParamsInput = Omit<Partial<SamplingParams>, "seed"> & {
  /** Unsigned 64-bit seed; a number must be a safe integer. Random when null. */
  readonly seed?: bigint | number | null;
};

/** What {@linkcode resolveSamplingParams} checks against. */
export interface SamplingContext {
  /** Values for what the caller left out (`generation_config.json`); checked like the caller's. */
  readonly defaults?: SamplingParamsInput;
  /** Entries of the model's vocabulary. */
  readonly vocabSize: number;
  /** Positions that a request may take. */
  readonly maxModelLen: number;
  /** Tokens of the prompt. */
  readonly promptLength: number;
}

/** The values of parameters that neither the caller nor the model gives. */
export const DEFAULT_SAMPLING_PARAMS: SamplingParams = Object.freeze({
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  logitBias: Object.freeze({}),
  badWords: Object.freeze([]),
  allowedTokenIds: null,
  seed: null,
  maxTokens: 16,
  minTokens: 0,
  stop: Object.freeze([]),
  stopTokenIds: Object.freeze([]),
  includeStopStrInOutput: false,
  skipSpecialTokens: true,
  ignoreEos: false,
  logprobs: null,
  promptLogprobs: null,
});

/**
 * Completes `given` from the model's defaults and {@linkcode DEFAULT_SAMPLING_PARAMS}, and checks it.
 *
 * An explicit `maxTokens` that leaves the context is refused; one that comes from a default is cut to
 * the room left. `maxTokens: 0` computes the prompt alone and needs `promptLogprobs`. `topK: -1` and
 * any `topK` that keeps the whole vocabulary become 0.
 *
 * @throws {UnsupportedRequestError} `param` is the name of the offending parameter, or `prompt`.
 */
export function resolveSamplingParams(
  given: SamplingParamsInput,
  context: SamplingContext,
): SamplingParams {
  const { vocabSize } = context;
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(DEFAULT_SAMPLING_PARAMS, name)) {
      throw new UnsupportedRequestError(
        `Cannot sample as a parameter is unknown: ${shown(name)}`,
        name,
      );
    }
  }
  // An explicit null turns a default off, so only what is left out takes one.
  const pick = (name: keyof SamplingParams): unknown =>
    given[name] !== undefined
      ? given[name]
      : context.defaults?.[name] ?? DEFAULT_SAMPLING_PARAMS[name];

  const temperature = number(pick("temperature"), "temperature", {
    wanted: "a finite number of at least 0",
    accepts: (value) => value >= 0 && Number.isFinite(Math.fround(value)),
  });
  const topK = integer(pick("topK"), "topK", {
    wanted: "an integer of at least 1, or 0 or -1 for all",
    accepts: (value) => value >= -1,
  });
  const params: SamplingParams = {
    temperature: temperature < MIN_TEMPERATURE ? 0 : temperature,
    topK: topK < 0 || topK >= vocabSize ? 0 : topK,
    topP: number(pick("topP"), "topP", {
      wanted: "above 0 and at most 1",
      accepts: (value) => value > 0 && value <= 1,
    }),
    minP: number(pick("minP"), "minP", {
      wanted: "from 0 to 1",
      accepts: (value) => value >= 0 && value <= 1,
    }),
    presencePenalty: penalty(pick("presencePenalty"), "presencePenalty"),
    frequencyPenalty: penalty(pick("frequencyPenalty"), "frequencyPenalty"),
    repetitionPenalty: repetitionPenalty(pick("repetitionPenalty")),
    logitBias: logitBias(pick("logitBias"), vocabSize),
    badWords: badWords(pick("badWords")),
    allowedTokenIds: allowedTokenIds(pick("allowedTokenIds"), vocabSize),
    seed: seed(pick("seed")),
    maxTokens: maxTokens(given.maxTokens, pick("maxTokens"), context),
    minTokens: integer(pick("minTokens"), "minTokens", {
      wanted: "an integer of at least 0",
      accepts: (count) => count >= 0,
    }),
    stop: stopStrings(pick("stop")),
    stopTokenIds: stopTokenIds(pick("stopTokenIds"), vocabSize),
    includeStopStrInOutput: boolean(pick("includeStopStrInOutput"), "includeStopStrInOutput"),
    skipSpecialTokens: boolean(pick("skipSpecialTokens"), "skipSpecialTokens"),
    ignoreEos: boolean(pick("ignoreEos"), "ignoreEos"),
    logprobs: logprobs(pick("logprobs"), "logprobs", vocabSize),
    promptLogprobs: logprobs(pick("promptLogprobs"), "promptLogprobs", vocabSize),
  };
  if (params.maxTokens === 0 && params.promptLogprobs === null) {
    throw refused("maxTokens", "at least 1, or 0 together with promptLogprobs", 0);
  }
  if (params.minTokens > params.maxTokens) {
    throw refused("minTokens", `at most maxTokens, which is ${params.maxTokens}`, params.minTokens);
  }
  checkReported("logprobs", params.logprobs, { rows: params.maxTokens, vocabSize });
  checkReported("promptLogprobs", params.promptLogprobs, {
    rows: context.promptLength,
    vocabSize,
  });
  return params;
}

function seed(value: unknown): bigint | null {
  if (value === null) return null;
  const seed = Number.isSafeInteger(value) ? BigInt(value as number) : value;
  if (typeof seed !== "bigint" || seed < 0n || seed >= 1n << 64n) {
    throw refused("seed", "an integer from 0 to 2^64 - 1", value);
  }
  return seed;
}

function maxTokens(given: unknown, value: unknown, context: SamplingContext): number {
  const { maxModelLen, promptLength } = context;
  const tokens = integer(value, "maxTokens", {
    wanted: "an integer of at least 0",
    accepts: (count) => count >= 0,
  });
  const room = maxModelLen - promptLength;
  if (promptLength < 1) {
    throw new UnsupportedRequestError("Cannot generate as the prompt is empty: 0 tokens", "prompt");
  }
  if (room < Math.min(tokens, 1)) {
    throw new UnsupportedRequestError(
      `Cannot generate as the prompt fills the context of ${maxModelLen} tokens: ${promptLength} tokens`,
      "prompt",
    );
  }
  if (tokens <= room) return tokens;
  if (given === undefined) return room;
  throw refused(
    "maxTokens",
    `at most ${room} after a prompt of ${promptLength} tokens in a context of ${maxModelLen}`,
    tokens,
  );
}

function stopStrings(value: unknown): readonly string[] {
  const wanted = `at most ${MAX_STOP_STRINGS} texts of 1 to ${MAX_STOP_STRING_LENGTH} characters`;
  if (!Array.isArray(value)) throw refused("stop", wanted, value);
  if (value.length > MAX_STOP_STRINGS) throw refused("stop", wanted, value.length);
  for (const text of value) {
    if (typeof text !== "string" || text.length < 1 || text.length > MAX_STOP_STRING_LENGTH) {
      throw refused("stop", wanted, text);
    }
  }
  return [...value];
}

function stopTokenIds(value: unknown, vocabSize: number): readonly number[] {
  const wanted = `at most ${MAX_STOP_TOKEN_IDS} ids from 0 to ${vocabSize - 1}`;
  if (!Array.isArray(value)) throw refused("stopTokenIds", wanted, value);
  if (value.length > MAX_STOP_TOKEN_IDS) {
    throw refused("stopTokenIds", wanted, value.length);
  }
  const accepts = (id: number) => id >= 0 && id < vocabSize;
  return value.map((id) => integer(id, "stopTokenIds", { wanted, accepts }));
}

function logprobs(value: unknown, param: string, vocabSize: number): number | null {
  if (value === null) return null;
  return integer(value, param, {
    wanted: `from 0 to ${vocabSize}, or -1 for the whole vocabulary`,
    accepts: (count) => count >= -1 && count <= vocabSize,
  });
}

/** Bounds what a request may make the engine hold, before anything is computed. */
function checkReported(
  param: string,
  count: number | null,
  size: { readonly rows: number; readonly vocabSize: number },
): void {
  if (count === null) return;
  const width = (count === -1 ? size.vocabSize : count) + 1;
  if (width * size.rows > MAX_REPORTED_LOGPROBS) {
    throw refused(
      param,
      `at most ${MAX_REPORTED_LOGPROBS} log-probabilities over ${size.rows} tokens`,
      count,
    );
  }
}
