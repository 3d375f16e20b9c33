/**
 * Checks of the parameters that change logits.
 * @module
 */
import { integer, number, refused } from "./param_checks.ts";

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

/** A presence or frequency penalty; throws UnsupportedRequestError. */
export function penalty(value: unknown, param: string): number {
  return number(value, param, {
    wanted: `from -${MAX_PENALTY} to ${MAX_PENALTY}`,
    accepts: (value) => Math.abs(value) <= MAX_PENALTY,
  });
}

/** A repetition penalty; throws UnsupportedRequestError. */
export function repetitionPenalty(value: unknown): number {
  const { min, max } = REPETITION_PENALTIES;
  return number(value, "repetitionPenalty", {
    wanted: `from ${min} to ${max}`,
    accepts: (value) => value >= min && value <= max,
  });
}

/** Biases by token id, a copy; throws UnsupportedRequestError. */
export function logitBias(value: unknown, vocabSize: number): Readonly<Record<number, number>> {
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

/** Texts that are not generated, a copy; throws UnsupportedRequestError. */
export function badWords(value: unknown): readonly string[] {
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

/** The only tokens that may be generated, or null; throws UnsupportedRequestError. */
export function allowedTokenIds(value: unknown, vocabSize: number): readonly number[] | null {
  if (value === null) return null;
  const wanted = `a list of 1 to ${vocabSize} ids from 0 to ${vocabSize - 1}, or null`;
  if (!Array.isArray(value)) throw refused("allowedTokenIds", wanted, value);
  if (value.length < 1 || value.length > vocabSize) {
    throw refused("allowedTokenIds", wanted, value.length);
  }
  const accepts = (id: number) => id >= 0 && id < vocabSize;
  return value.map((id) => integer(id, "allowedTokenIds", { wanted, accepts }));
}
