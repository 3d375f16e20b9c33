/**
 * One request on its way through the scheduler: what is known of it and how far it was planned.
 * @module
 */
import type { BlockTable, NamedBlocks } from "./block_manager.ts";
import type { BlockName, BlockNamer } from "./block_names.ts";
import type { Mutable } from "../reused.ts";
import type { PlannedSampling, RowLogprobs, SequenceResult } from "../step_plan.ts";
import type { FinishReason, GenerationChunk, SamplingParams, TokenLogprob } from "../types.ts";
import { SequenceAdjustments } from "./sequence_adjustments.ts";
import type { TokenMask } from "./token_mask.ts";

/** Sampling parameters whose seed has been chosen. */
export type SeededSamplingParams = SamplingParams & { readonly seed: bigint };

/** A request as the scheduler takes it. */
export interface SchedulerRequest {
  /** Name of the request in outputs and in `abort`; no other live request has it. */
  readonly id: number | string;
  /** Tokens of the prompt, at least one. */
  readonly promptTokenIds: ArrayLike<number>;
  /** Complete parameters (`resolveSamplingParams`) with a seed. Stop texts are the caller's affair. */
  readonly sampling: SeededSamplingParams;
  /** The model's end tokens. */
  readonly eosTokenIds: readonly number[];
  /** Tokens of `sampling.badWords`: each word is one run of tokens or more. None when left out. */
  readonly badWords?: readonly (readonly number[])[];
  /** Which tokens may be drawn: a grammar's. It takes the place of `allowedTokenIds`, which must be null. */
  readonly mask?: TokenMask;
  /** Choice index, which takes part in every draw. 0 when left out. */
  readonly choice?: number;
  /** Lower ones are admitted first and lose their blocks last; among equals who came first. 0 when left out. */
  readonly priority?: number;
  /** Only requests with the same salt share blocks. None when left out, which is a salt too. */
  readonly cacheSalt?: string;
  /** False takes no block from the prefix cache and leaves none there. Default true. */
  readonly cachePrompt?: boolean;
}

/** What a sequence needs to know of where it runs. */
export interface SequenceOptions {
  /** Place in the order of arrival: unique and growing. */
  readonly arrival: number;
  /** Tokens in a block. */
  readonly blockSize: number;
  /** Names its blocks; null where no block is shared. */
  readonly namer: BlockNamer | null;
  /** Entries of the vocabulary. */
  readonly vocabSize: number;
}

/** What a retired step added to a request: a {@linkcode GenerationChunk} before its text and version. */
export interface SchedulerOutput extends Omit<GenerationChunk, "text" | "weightVersion"> {
  /** Name of the request. */
  readonly id: number | string;
}

/** A chunk of a sequence's tokens that one plan computes. */
export interface SequenceChunk {
  /** First position. */
  readonly start: number;
  /** One past the last position. */
  readonly end: number;
}

/**
 * State of one request. Positions `[0, numComputed)` are covered by plans and tokens `[0, numKnown)`
 * have values; where the first has overtaken the second, the tokens between are drawn by plans in
 * flight. Preemption takes the first back to 0 and keeps every token, those in flight included.
 */
export class Sequence implements NamedBlocks {
  /** Name of the request. */
  readonly id: number | string;
  /** Place in the order of arrival. */
  readonly arrival: number;
  /** Comes before {@linkcode arrival} in the order of sequences. */
  readonly priority: number;
  /** Tokens of the prompt. */
  readonly promptLength: number;
  /**
   * Positions that are ever computed: nobody attends to the last token drawn, so its keys and values
   * are not needed.
   */
  readonly numPositions: number;
  /** How its tokens are drawn. */
  readonly plannedSampling: PlannedSampling;
  /** What changes its logits; null for nothing. */
  readonly adjustments: SequenceAdjustments | null;
  /** Blocks and slot while it runs, else null. */
  table: BlockTable | null = null;
  /** Positions that plans cover since it was last admitted. */
  numComputed: number = 0;
  /** End of the known tokens when it was last admitted: up to there it prefills, then it decodes. */
  prefillEnd: number = 0;
  /** Tokens up to there that were not found in the cache. */
  prefillTokens: number = 0;
  /** Blocks of its table that the ranks were told. */
  blocksTold: number = 0;
  /** Blocks of its table that others can find, or need not. */
  blocksShared: number = 0;
  /** Last plan that it is part of, -1 before the first. */
  lastStep: number = -1;
  /** True once it has ended or was aborted: results that arrive later are dropped. */
  finished: boolean = false;

  readonly #sampling: SamplingParams;
  readonly #eosTokenIds: readonly number[];
  #tokens: Int32Array;
  #numKnown: number;
  #numTargetsPlanned = 0;
  #numPromptRetired = 0;
  #promptLogprobs: (TokenLogprob | null)[] | null;
  readonly #newTokens: number[] = [];
  readonly #blockSize: number;
  readonly #namer: BlockNamer | null;
  readonly #salt: string;
  readonly #names: BlockName[] = [];
  /** Times that it was admitted. */
  #runs = 0;
  /** Tokens of the prompt that came from the cache, until the first output says so. */
  #cachedTokens = 0;
  readonly #output: Mutable<SchedulerOutput>;

  /** Copies the prompt. Throws UnsupportedRequestError when no token is left to draw. */
  constructor(request: SchedulerRequest, options: SequenceOptions) {
    const { arrival, blockSize, namer, vocabSize } = options;
    const { sampling, promptTokenIds } = request;
    this.id = request.id;
    this.arrival = arrival;
    this.priority = request.priority ?? 0;
    this.#blockSize = blockSize;
    this.#namer = request.cachePrompt === false ? null : namer;
    this.#salt = request.cacheSalt ?? "";
    this.promptLength = promptTokenIds.length;
    this.numPositions = numPositions(this.promptLength, sampling.maxTokens);
    this.plannedSampling = Object.freeze({
      temperature: sampling.temperature,
      topK: sampling.topK,
      topP: sampling.topP,
      minP: sampling.minP,
      seedLow: Number(sampling.seed & 0xffffffffn),
      seedHigh: Number(sampling.seed >> 32n),
      choice: request.choice ?? 0,
      logprobs: sampling.logprobs,
    });
    this.adjustments = SequenceAdjustments.of(request, vocabSize);
    this.#sampling = sampling;
    this.#eosTokenIds = request.eosTokenIds;
    this.#tokens = Int32Array.from(promptTokenIds);
    this.#numKnown = this.promptLength;
    this.#promptLogprobs = sampling.promptLogprobs === null ? null : [null];
    const { id } = request;
    this.#output = { id, tokenIds: this.#newTokens, finishReason: null, stopReason: null };
  }

  /** Tokens whose values are known: the prompt and what has been drawn and has arrived. */
  get numKnown(): number {
    return this.#numKnown;
  }

  /** True while known tokens of its last admission are not yet covered by plans. */
  get prefilling(): boolean {
    return this.numComputed < this.prefillEnd;
  }

  /** True when nothing remains to be planned: only results are awaited. */
  get fullyPlanned(): boolean {
    return this.numComputed === this.numPositions;
  }

  /**
   * Whether the token after its computed ones may be planned with `lastStep` as the source of its input, before
   * that is known: not when that input changes the logits that it leads to.
   */
  get runsAhead(): boolean {
    return this.adjustments === null || !this.adjustments.followsTokens;
  }

  /** Top tokens to report at each prompt target; 0 without prompt log-probabilities. */
  get promptLogprobsWidth(): number {
    return this.#sampling.promptLogprobs ?? 0;
  }

  /** The known tokens of a chunk, without a copy; they never change. */
  tokensOf(chunk: SequenceChunk): Int32Array {
    return this.#tokens.subarray(chunk.start, chunk.end);
  }

  /** True when the chunk ends the known tokens and a token is to be drawn after it. */
  drawsAfter(chunk: SequenceChunk): boolean {
    return chunk.end >= this.prefillEnd && this.#sampling.maxTokens > 0;
  }

  /**
   * Where a prefill chunk from `start` has to end at the latest. When the sequence is computed anew,
   * a chunk stops where prompt log-probabilities have already been asked for, so that targets always
   * begin with a chunk.
   */
  chunkLimit(start: number): number {
    const asked = this.#numTargetsPlanned;
    return start < asked && asked < this.promptLength - 1 ? asked : this.prefillEnd;
  }

  /** The prompt tokens that follow those of the chunk and whose log-probabilities are still wanted. */
  targetsOf(chunk: SequenceChunk): Int32Array | null {
    if (this.#promptLogprobs === null || chunk.start < this.#numTargetsPlanned) return null;
    const end = Math.min(chunk.end, this.promptLength - 1);
    return chunk.start < end ? this.#tokens.subarray(chunk.start + 1, end + 1) : null;
  }

  /**
   * Blocks that it may take from the cache: the last known token is computed in any case, as the next one is drawn
   * after it, and every token where log-probabilities of the prompt are asked for.
   */
  get blocksWanted(): number {
    if (this.#namer === null || this.#sampling.promptLogprobs !== null) return 0;
    return Math.floor((this.#numKnown - 1) / this.#blockSize);
  }

  /** Name of the block at `place`; throws TypeError when it takes no part in the cache. */
  nameOf(place: number): BlockName {
    const [names, size] = [this.#names, this.#blockSize];
    while (names.length <= place) {
      const start = names.length * size;
      const parent = start > 0 ? names[names.length - 1] : this.#namer!.root(this.#salt);
      names.push(this.#namer!.block(parent, this.#tokens, { start, end: start + size }));
    }
    return names[place];
  }

  /** Blocks that others may find once positions up to `end` are computed: those full of known tokens. */
  blocksToShare(end: number): number {
    if (this.#namer === null) return 0;
    return Math.floor(Math.min(end, this.#numKnown) / this.#blockSize);
  }

  /**
   * Begins to run: all known tokens are to be computed. Returns the tokens of its prompt that it looks for in the
   * cache, at its first time; else 0.
   */
  admit(table: BlockTable): number {
    this.table = table;
    this.numComputed = 0;
    this.prefillEnd = this.prefillTokens = this.#numKnown;
    this.blocksTold = 0;
    this.blocksShared = 0;
    this.adjustments?.forget();
    return this.#runs++ === 0 && this.blocksWanted > 0 ? this.promptLength : 0;
  }

  /** Goes on behind `count` more blocks of its table that were cached. Returns their tokens, in its first run; else 0. */
  takeOver(count: number): number {
    const tokens = count * this.#blockSize;
    this.numComputed += tokens;
    this.prefillTokens -= tokens;
    if (count > 0) this.blocksShared = this.numComputed / this.#blockSize;
    if (this.#runs > 1) return 0;
    this.#cachedTokens += tokens;
    return tokens;
  }

  /** Notes that the plan of `step` covers the chunk. */
  planned(chunk: SequenceChunk, step: number): void {
    if (this.targetsOf(chunk) !== null) {
      this.#numTargetsPlanned = Math.min(chunk.end, this.promptLength - 1);
    }
    this.numComputed = chunk.end;
    this.lastStep = step;
  }

  /** Prompt tokens that a chunk up to `end` computed for the first time, now that its plan has retired. */
  retirePrompt(end: number): number {
    const count = Math.max(0, Math.min(end, this.promptLength) - this.#numPromptRetired);
    this.#numPromptRetired += count;
    return count;
  }

  /** Keeps the prompt log-probabilities of a retired chunk until the first output. */
  addPromptLogprobs(targets: ArrayLike<number>, rows: readonly RowLogprobs[]): void {
    for (let i = 0; i < targets.length; i++) {
      this.#promptLogprobs?.push(toTokenLogprob(targets[i], rows[i]));
    }
  }

  /** Takes the token that a retired plan drew, and says what is new, until the next token. */
  acceptToken(result: SequenceResult): SchedulerOutput {
    const { token } = result;
    if (this.#numKnown === this.#tokens.length) {
      const grown = new Int32Array(2 * this.#tokens.length);
      grown.set(this.#tokens);
      this.#tokens = grown;
    }
    this.#tokens[this.#numKnown++] = token;
    this.#newTokens[0] = token;
    this.adjustments?.accept(this.#tokens.subarray(this.promptLength, this.#numKnown));
    const output = this.#report(this.#finishReasonOf(token));
    return result.logprobs === null
      ? output
      : { ...output, logprobs: [toTokenLogprob(token, result.logprobs)] };
  }

  /** Ends a request that draws nothing, once its prompt has been computed. */
  acceptPromptEnd(): SchedulerOutput {
    return this.#report("length");
  }

  /** What the new tokens, and their end, are to whoever asked for them. */
  #report(finishReason: FinishReason | null): SchedulerOutput {
    const output = this.#output;
    const token = this.#newTokens[0];
    output.finishReason = finishReason;
    output.stopReason = finishReason === "stop" && !this.#endsModel(token) ? token : null;
    if (finishReason !== null) this.finished = true;
    if (this.#promptLogprobs !== null) {
      const promptLogprobs = this.#promptLogprobs;
      this.#promptLogprobs = null;
      return { ...output, promptLogprobs };
    }
    if (this.#cachedTokens === 0) return output;
    const cachedTokens = this.#cachedTokens;
    this.#cachedTokens = 0;
    return { ...output, cachedTokens };
  }

  #finishReasonOf(token: number): FinishReason | null {
    if (this.#endsModel(token) || this.#sampling.stopTokenIds.includes(token)) return "stop";
    return this.#numKnown === this.promptLength + this.#sampling.maxTokens ? "length" : null;
  }

  #endsModel(token: number): boolean {
    return !this.#sampling.ignoreEos && this.#eosTokenIds.includes(token);
  }
}

/** Positions that a request ever computes: its prompt and all drawn tokens but the last. */
export function numPositions(promptLength: number, maxTokens: number): number {
  return promptLength + Math.max(0, maxTokens - 1);
}

function toTokenLogprob(tokenId: number, row: RowLogprobs): TokenLogprob {
  const top: [number, number][] = [];
  for (let i = 0; i < row.topIds.length; i++) top.push([row.topIds[i], row.topLogprobs[i]]);
  return { tokenId, logprob: row.logprob, top };
}
