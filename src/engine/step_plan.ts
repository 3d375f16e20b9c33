/**
 * What the scheduler tells the ranks, and what they answer. Plain data; `step_codec.ts` packs it.
 * @module
 */

/** How the token after a sequence's last planned token is drawn. */
export interface PlannedSampling {
  /** 0 is greedy. */
  readonly temperature: number;
  /** 0 keeps all. */
  readonly topK: number;
  /** 1 keeps all. */
  readonly topP: number;
  /** 0 keeps all. */
  readonly minP: number;
  /** Low 32 bits of the seed, unsigned. */
  readonly seedLow: number;
  /** High 32 bits of the seed, unsigned. */
  readonly seedHigh: number;
  /** Choice index of the request. */
  readonly choice: number;
  /** Top tokens to report; -1 the whole vocabulary, null no log-probabilities. */
  readonly logprobs: number | null;
}

/**
 * What a sequence's logits are changed by before its next token is drawn. Ranks keep it by slot: a plan
 * names what is new, and the first one of a slot's sequence names everything.
 */
export interface PlannedAdjustments {
  /** Entries that hold: those at places `[0, count)`. */
  readonly count: number;
  /** Places of the entries that are written, each below `count`. */
  readonly places: Int32Array;
  /**
   * `[places, 4]`: the token, then the bits of three f32 of `LogitEntries`: what is added before scaling,
   * the scale, and what is added after. No token has two places.
   */
  readonly entries: Int32Array;
  /** Whether only the tokens of a mask may be drawn. */
  readonly masked: boolean;
  /** The mask: token `id` may be drawn where bit `id % 32` of word `id / 32` is set. Null: the one before. */
  readonly mask: Int32Array | null;
}

/** Work for one sequence in one step. */
export interface PlannedSequence {
  /** Row of the rank-resident block table and of the token board; stable while the sequence holds blocks. */
  readonly slot: number;
  /** Absolute position of the first token of this step. */
  readonly startPosition: number;
  /** Number of tokens in this step. */
  readonly numTokens: number;
  /**
   * The input tokens, or null when the single input token is the one that an earlier step samples
   * for the same slot: then `inputStep` names that step.
   */
  readonly tokens: ArrayLike<number> | null;
  /** Step whose sampled token is the input, or -1. */
  readonly inputStep: number;
  /** Place in the slot's block table where `newBlocks` go (0 starts the table anew). */
  readonly firstNewBlock: number;
  /** Block numbers that join the table with this step. */
  readonly newBlocks: ArrayLike<number>;
  /** How to draw the next token; null when this chunk does not end the known tokens. */
  readonly sampling: PlannedSampling | null;
  /** What changes the logits of that draw; null for nothing, and where nothing is drawn. */
  readonly adjustments: PlannedAdjustments | null;
  /** Prompt log-probabilities: the token that follows each of the first `targets.length` tokens. */
  readonly promptTargets: ArrayLike<number> | null;
  /** Top tokens to report at each of them. */
  readonly promptLogprobs: number;
}

/** One step of work, the same for every rank of a replica. Plans run in order, each on every rank. */
export interface StepPlan {
  /** Number of the step, counted from 0. */
  readonly step: number;
  /** Sequences in batch order. */
  readonly sequences: readonly PlannedSequence[];
}

/** Log-probability of a token with the most likely ones beside it. */
export interface RowLogprobs {
  /** Log-probability of the token itself. */
  readonly logprob: number;
  /** Ids of the most likely tokens, descending. */
  readonly topIds: Int32Array;
  /** Their log-probabilities. */
  readonly topLogprobs: Float32Array;
}

/** What a step produced for one sequence. */
export interface SequenceResult {
  /** Slot of the planned sequence. */
  readonly slot: number;
  /** The drawn token, or -1 when none was asked for. */
  readonly token: number;
  /** Log-probabilities of the drawn token, when asked for. */
  readonly logprobs: RowLogprobs | null;
  /** One entry per prompt target. */
  readonly promptLogprobs: readonly RowLogprobs[] | null;
}

/** What a step produced, one entry per planned sequence, in the plan's order. */
export interface StepResult {
  /** Number of the step. */
  readonly step: number;
  /** Results in the plan's order. */
  readonly sequences: readonly SequenceResult[];
}
