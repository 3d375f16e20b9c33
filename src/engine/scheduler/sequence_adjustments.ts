/**
 * How the logits of one sequence are changed: penalties, biases, banned and allowed tokens.
 * @module
 */
import { LOGIT_ENTRY_WORDS as ENTRY } from "../../tensor/sampling_kernels.ts";
import type { PlannedAdjustments } from "../step_plan.ts";
import { type SamplingParams, UnsupportedRequestError } from "../types.ts";
import { AllowedTokens, type TokenMask } from "./token_mask.ts";

/** What a request says of its logits, beside its sampling parameters. */
export interface AdjustedRequest {
  /** Complete parameters. */
  readonly sampling: SamplingParams;
  /** Tokens of the prompt. */
  readonly promptTokenIds: ArrayLike<number>;
  /** The model's end tokens. */
  readonly eosTokenIds: readonly number[];
  /** Runs of tokens, the last of which is not drawn where the output ends with the others. */
  readonly badWords?: readonly (readonly number[])[];
  /** Which tokens are allowed, where `allowedTokenIds` is null. */
  readonly mask?: TokenMask;
}

/** What is known of a token whose logit is changed. */
interface TokenState {
  /** Where its entry lies. */
  readonly place: number;
  /** Added before penalties. */
  bias: number;
  /** Whether the repetition penalty applies. */
  seen: boolean;
  /** How often it was drawn. */
  count: number;
  /** Rules that forbid it now. */
  bans: number;
}

const NO_INTS = new Int32Array(0);

/**
 * Follows one sequence's tokens and keeps the changes that they make to its logits. What ranks have not
 * been told is named by the next plan: a token costs the work of what it changes.
 *
 * A logit becomes, in this order: plus its bias; by the repetition penalty divided where it is above 0,
 * else multiplied, if the token is in prompt or output; less the frequency penalty for each time and the presence
 * penalty for the first time that it was drawn; -Infinity if the token is forbidden.
 */
export class SequenceAdjustments {
  /** Whether what holds at a draw depends on the values of all tokens before it. */
  readonly followsTokens: boolean;
  readonly #sampling: SamplingParams;
  readonly #longBadWords: readonly (readonly number[])[];
  readonly #mask: TokenMask | null;
  readonly #tokens = new Map<number, TokenState>();
  #words = new Int32Array(16 * ENTRY);
  #floats = new Float32Array(this.#words.buffer);
  /** Places that ranks do not know as they are. */
  readonly #untold = new Set<number>();
  #maskTold: Int32Array | null = null;
  /** What ended words would end with, as far as they are forbidden now. */
  #wordEnds: readonly number[] = [];
  /** Tokens that may not be drawn before `minTokens` were. */
  #ends: readonly number[];
  #steady: PlannedAdjustments | null = null;

  private constructor(request: AdjustedRequest, mask: TokenMask | null) {
    const { sampling, promptTokenIds, eosTokenIds, badWords = [] } = request;
    this.#sampling = sampling;
    this.#mask = mask;
    this.#longBadWords = badWords.filter((word) => word.length > 1);
    this.followsTokens = penalizes(sampling) || this.#longBadWords.length > 0 ||
      (mask?.followsTokens ?? false);
    for (const [id, bias] of Object.entries(sampling.logitBias)) {
      this.#change(Number(id), (state) => state.bias = bias);
    }
    for (const word of badWords) if (word.length === 1) this.#ban(word[0], 1);
    this.#ends = sampling.minTokens > 0
      ? [...new Set([...eosTokenIds, ...sampling.stopTokenIds])]
      : [];
    for (const id of this.#ends) this.#ban(id, 1);
    if (sampling.repetitionPenalty === 1) return;
    for (const id of new Set(Array.from(promptTokenIds))) {
      this.#change(id, (state) => state.seen = true);
    }
  }

  /**
   * The adjustments of a request, null when it asks for none. Throws UnsupportedRequestError when they leave no
   * token for the first draw, or a mask comes beside allowed tokens.
   */
  static of(request: AdjustedRequest, vocabSize: number): SequenceAdjustments | null {
    const { sampling, eosTokenIds, badWords = [], mask = null } = request;
    const { allowedTokenIds } = sampling;
    if (allowedTokenIds !== null && mask !== null) {
      throw new UnsupportedRequestError(
        "Cannot generate as allowedTokenIds and a grammar both say which tokens are allowed: give one",
        "allowedTokenIds",
      );
    }
    const allowed = allowedTokenIds === null ? mask : new AllowedTokens(allowedTokenIds, vocabSize);
    const forbidsEnds = sampling.minTokens > 0 &&
      eosTokenIds.length + sampling.stopTokenIds.length > 0;
    const changes = penalizes(sampling) || badWords.length > 0 || forbidsEnds ||
      Object.keys(sampling.logitBias).length > 0;
    if (!changes && allowed === null) return null;
    const adjustments = new SequenceAdjustments(request, allowed);
    if (allowedTokenIds?.every((id) => (adjustments.#tokens.get(id)?.bans ?? 0) > 0)) {
      throw new UnsupportedRequestError(
        "Cannot generate as every token of allowedTokenIds is a bad word or ends the text before minTokens",
        "allowedTokenIds",
      );
    }
    return adjustments;
  }

  /** Entries of the table. */
  get count(): number {
    return this.#tokens.size;
  }

  /** Whether the next draw can be planned: its mask is known. */
  get ready(): boolean {
    return this.#mask === null || this.#mask.words !== null;
  }

  /** Takes a token that was drawn, the last of the `output` so far. */
  accept(output: Int32Array): void {
    const token = output[output.length - 1];
    this.#mask?.accept(token);
    if (penalizes(this.#sampling)) {
      this.#change(token, (state) => {
        state.seen = true;
        state.count++;
      });
    }
    if (this.#longBadWords.length === 0) return;
    for (const id of this.#wordEnds) this.#ban(id, -1);
    this.#wordEnds = this.#longBadWords.filter((word) => isBegun(word, output))
      .map((word) => word[word.length - 1]);
    for (const id of this.#wordEnds) this.#ban(id, 1);
  }

  /** Ranks know nothing any more: the sequence has another slot. */
  forget(): void {
    for (let place = 0; place < this.count; place++) this.#untold.add(place);
    this.#maskTold = null;
    this.#steady = null;
  }

  /**
   * What holds when the token after `numDrawn` others is drawn, as ranks are to be told after all plans before.
   * To be called only for plans that are carried out.
   */
  plan(numDrawn: number): PlannedAdjustments {
    if (numDrawn >= this.#sampling.minTokens && this.#ends.length > 0) {
      for (const id of this.#ends) this.#ban(id, -1);
      this.#ends = [];
    }
    const mask = this.#mask?.words ?? null;
    const masked = mask !== null;
    if (this.#untold.size === 0 && mask === this.#maskTold) {
      return this.#steady ??= this.#planned(NO_INTS, { masked, mask: null });
    }
    const places = Int32Array.from(this.#untold).sort();
    this.#untold.clear();
    this.#steady = null;
    const planned = this.#planned(places, { masked, mask: mask === this.#maskTold ? null : mask });
    this.#maskTold = mask;
    return planned;
  }

  #planned(
    places: Int32Array,
    mask: Pick<PlannedAdjustments, "masked" | "mask">,
  ): PlannedAdjustments {
    const entries = new Int32Array(ENTRY * places.length);
    for (let i = 0; i < places.length; i++) {
      const start = ENTRY * places[i];
      entries.set(this.#words.subarray(start, start + ENTRY), ENTRY * i);
    }
    return { count: this.count, places, entries, ...mask };
  }

  #ban(token: number, by: 1 | -1): void {
    this.#change(token, (state) => state.bans += by);
  }

  /** Changes what is known of a token, and its entry when that makes it another. */
  #change(token: number, change: (state: TokenState) => void): void {
    let state = this.#tokens.get(token);
    const isNew = state === undefined;
    if (state === undefined) {
      state = { place: this.count, bias: 0, seen: false, count: 0, bans: 0 };
      this.#tokens.set(token, state);
      this.#reserve(this.count);
    }
    change(state);
    const { repetitionPenalty, frequencyPenalty, presencePenalty } = this.#sampling;
    const { place, bias, seen, count, bans } = state;
    const after = count > 0 ? -(frequencyPenalty * count + presencePenalty) : 0;
    const start = ENTRY * place;
    const values = [bias, seen ? repetitionPenalty : 1, bans > 0 ? -Infinity : after];
    let changed = isNew;
    this.#words[start] = token;
    for (let i = 0; i < values.length; i++) {
      const value = Math.fround(values[i]);
      if (this.#floats[start + 1 + i] !== value) changed = true;
      this.#floats[start + 1 + i] = value;
    }
    if (changed) this.#untold.add(place);
  }

  #reserve(count: number): void {
    if (ENTRY * count <= this.#words.length) return;
    const grown = new Int32Array(2 * this.#words.length);
    grown.set(this.#words);
    this.#words = grown;
    this.#floats = new Float32Array(grown.buffer);
  }
}

function penalizes(sampling: SamplingParams): boolean {
  const { presencePenalty, frequencyPenalty, repetitionPenalty } = sampling;
  return presencePenalty !== 0 || frequencyPenalty !== 0 || repetitionPenalty !== 1;
}

/** Whether the output ends with all but the last token of a word. */
function isBegun(word: readonly number[], output: Int32Array): boolean {
  const start = output.length - (word.length - 1);
  if (start < 0) return false;
  for (let i = 0; i < word.length - 1; i++) if (output[start + i] !== word[i]) return false;
  return true;
}
