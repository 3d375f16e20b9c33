/**
 * A step as it is planned, in memory that is written anew with each.
 * @module
 */
import { type Mutable, ReusedList } from "../reused.ts";
import type { PlannedSequence, StepPlan } from "../step_plan.ts";
import type { BlockTable } from "./block_manager.ts";
import type { Sequence } from "./sequence.ts";

/** An entry of a plan, to be written. */
export interface PlannedEntry extends Mutable<PlannedSequence> {
  /** See {@linkcode PlannedSequence.newBlocks}: the same list each time. */
  readonly newBlocks: number[];
}

/** How much of everything a step takes. */
export interface StepBounds {
  /** Tokens computed in one step. */
  readonly maxNumBatchedTokens: number;
  /** Cached blocks that sequences take over in one step. */
  readonly maxHitBlocks: number;
  /** Logits that are changed in one step, of all sequences together. */
  readonly maxAdjustments: number;
}

/** A plan and the sequence behind each of its entries; written anew when its step has retired. */
export class PlannedStep {
  /** What the ranks are told. */
  readonly plan: Readonly<StepPlan>;
  /** Tokens that the step has room for. */
  tokensLeft: number = 0;
  /** Cached blocks that it has room for. */
  hitBlocksLeft: number = 0;
  /** Changed logits that it has room for. */
  adjustmentsLeft: number = 0;
  readonly #entries = new ReusedList<PlannedEntry>(emptyEntry);
  readonly #sequences: Sequence[] = [];
  readonly #tables: BlockTable[] = [];
  readonly #plan: Mutable<StepPlan>;

  /** No step yet. */
  constructor() {
    this.plan = this.#plan = { step: -1, sequences: this.#entries.items };
  }

  /** One sequence per entry of the plan. */
  get sequences(): readonly Sequence[] {
    return this.#sequences;
  }

  /** The table of each entry, which its sequence may have given up since. */
  get tables(): readonly BlockTable[] {
    return this.#tables;
  }

  /** Entries so far. */
  get length(): number {
    return this.#entries.count;
  }

  /** Begins `step`, with no entries. */
  begin(step: number, limits: StepBounds): void {
    this.#plan.step = step;
    this.#entries.begin();
    this.tokensLeft = limits.maxNumBatchedTokens;
    this.hitBlocksLeft = limits.maxHitBlocks;
    this.adjustmentsLeft = limits.maxAdjustments;
  }

  /** Adds the entry of a sequence that has `table`, all of whose fields the caller writes. */
  add(sequence: Sequence, table: BlockTable): PlannedEntry {
    this.#sequences[this.#entries.count] = sequence;
    this.#tables[this.#entries.count] = table;
    return this.#entries.add();
  }

  /** Ends the list of entries. */
  end(): void {
    this.#entries.end();
    while (this.#sequences.length > this.#entries.count) {
      this.#sequences.pop();
      this.#tables.pop();
    }
  }
}

function emptyEntry(): PlannedEntry {
  return {
    slot: 0,
    startPosition: 0,
    numTokens: 0,
    tokens: null,
    inputStep: -1,
    firstNewBlock: 0,
    newBlocks: [],
    sampling: null,
    adjustments: null,
    promptTargets: null,
    promptLogprobs: 0,
  };
}
