/**
 * Completes and checks the sampling parameters of a request.
 * @module
 */
import { type SamplingParams, UnsupportedRequestError } from "./types.ts";

/** Stop texts of one request at most. */
export const MAX_STOP_STRINGS = 16;

/** UTF-16 code units of one stop text at most. */
export const MAX_STOP_STRING_LENGTH = 1024;

/** Stop token ids of one request at most. */
export const MAX_STOP_TOKEN_IDS = 1024;

/** Tokens of one request's `logitBias` at most. */
export const MAX_LOGIT_BIASES = 1024;

/** Bad words of one request at most. */
export const MAX_BAD_WORDS = 128;

/** UTF-16 code units of one bad word at most. */
export const MAX_BAD_WORD_LENGTH = 256;

/** Furthest that a presence or frequency penalty goes to either side. */
export const MAX_PENALTY = 2;

/** Least and largest repetition penalty: logits stay far from the ends of their type. */
export const REPETITION_PENALTIES = { min: 0.01, max: 100 } as const;

/** Furthest that a logit bias goes to either side. */
export const MAX_LOGIT_BIAS = 100;

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

function refused(param: string, wanted: string, value: unknown): UnsupportedRequestError {
  return new UnsupportedRequestError(
    `Cannot sample as ${param} must be ${wanted}: current value is ${shown(value)}`,
    param,
  );
}

function shown(value: unknown): string {
  if (typeof value === "object" && value !== null) {
    return Array.isArray(value) ? "a list" : "an object";
  }
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

interface Range {
  readonly wanted: string;
  readonly accepts: (value: number) => boolean;
}

function number(value: unknown, param: string, range: Range): number {
  if (typeof value !== "number" || !range.accepts(value)) throw refused(param, range.wanted, value);
  return value;
}

function integer(value: unknown, param: string, range: Range): number {
  if (!Number.isSafeInteger(value)) throw refused(param, range.wanted, value);
  return number(value, param, range);
}

function boolean(value: unknown, param: string): boolean {
  if (typeof value !== "boolean") throw refused(param, "true or false", value);
  return value;
}

function penalty(value: unknown, param: string): number {
  return number(value, param, {
    wanted: `from -${MAX_PENALTY} to ${MAX_PENALTY}`,
    accepts: (value) => Math.abs(value) <= MAX_PENALTY,
  });
}

function repetitionPenalty(value: unknown): number {
  const { min, max } = REPETITION_PENALTIES;
  return number(value, "repetitionPenalty", {
    wanted: `from ${min} to ${max}`,
    accepts: (value) => value >= min && value <= max,
  });
}

function logitBias(value: unknown, vocabSize: number): Readonly<Record<number, number>> {
  const wanted =
    `at most ${MAX_LOGIT_BIASES} numbers from -${MAX_LOGIT_BIAS} to ${MAX_LOGIT_BIAS} by ` +
    `token ids from 0 to ${vocabSize - 1}`;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw refused("logitBias", wanted, value);
  }
  const entries = Object.entries(value);
  if (entries.length > MAX_LOGIT_BIASES) throw refused("logitBias", wanted, entries.length);
  for (const [id, bias] of entries) {
    if (!/^(0|[1-9][0-9]{0,9})$/.test(id) || Number(id) >= vocabSize) {
      throw refused("logitBias", wanted, id);
    }
    number(bias, "logitBias", {
      wanted,
      accepts: (bias) => Math.abs(bias) <= MAX_LOGIT_BIAS,
    });
  }
  return { ...value };
}

function badWords(value: unknown): readonly string[] {
  const wanted =
    `at most ${MAX_BAD_WORDS} texts of 1 to ${MAX_BAD_WORD_LENGTH} characters, not all spaces`;
  if (!Array.isArray(value)) throw refused("badWords", wanted, value);
  if (value.length > MAX_BAD_WORDS) throw refused("badWords", wanted, value.length);
  for (const text of value) {
    if (typeof text !== "string" || text.trim() === "" || text.length > MAX_BAD_WORD_LENGTH) {
      throw refused("badWords", wanted, text);
    }
    if (!text.isWellFormed()) throw refused("badWords", "valid Unicode", text);
  }
  return [...value];
}

function allowedTokenIds(value: unknown, vocabSize: number): readonly number[] | null {
  if (value === null) return null;
  const wanted = `a list of 1 to ${vocabSize} ids from 0 to ${vocabSize - 1}, or null`;
  if (!Array.isArray(value)) throw refused("allowedTokenIds", wanted, value);
  if (value.length < 1 || value.length > vocabSize) {
    throw refused("allowedTokenIds", wanted, value.length);
  }
  const accepts = (id: number) => id >= 0 && id < vocabSize;
  return value.map((id) => integer(id, "allowedTokenIds", { wanted, accepts }));
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
