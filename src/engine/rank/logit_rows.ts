/**
 * Which rows of logits a plan needs, and what becomes of the answers.
 * @module
 */
import { emptyResult } from "../result_decoder.ts";
import { type Mutable, ReusedList } from "../reused.ts";
import type { SampleRow } from "../sampler/sample_row.ts";
import type { Samples } from "../sampler/samples_landing.ts";
import type { PlannedSequence, RowLogprobs, SequenceResult } from "../step_plan.ts";
import type { AdjustmentTables } from "./adjustment_tables.ts";

/** A row of logits with where its answer belongs. */
export interface LogitRow extends SampleRow {
  /** Token of the batch. */
  readonly token: number;
  /** Index of the planned sequence. */
  readonly sequence: number;
}

/** Rows of one plan at a time, in the same objects each time. */
export class LogitRows {
  readonly #rows = new ReusedList<Mutable<LogitRow>>(emptyRow);
  readonly #adjustments: AdjustmentTables;

  /** What plans say of adjustments goes into `adjustments`. */
  constructor(adjustments: AdjustmentTables) {
    this.#adjustments = adjustments;
  }

  /**
   * The rows that a step needs: prompt tokens with targets, and each sequence's next token. They stay as they
   * are until the next call.
   */
  of(sequences: readonly PlannedSequence[]): readonly LogitRow[] {
    this.#rows.begin();
    let firstToken = 0;
    for (let index = 0; index < sequences.length; index++) {
      const { promptTargets, promptLogprobs, sampling, adjustments } = sequences[index];
      const { slot, startPosition, numTokens } = sequences[index];
      for (let i = 0; promptTargets && i < promptTargets.length; i++) {
        const row = this.#add(index, firstToken + i);
        row.sampling = null;
        row.adjustments = null;
        row.position = startPosition + i + 1;
        row.target = promptTargets[i];
        row.logprobs = promptLogprobs;
      }
      if (sampling) {
        const row = this.#add(index, firstToken + numTokens - 1);
        row.sampling = sampling;
        row.adjustments = adjustments && this.#adjustments.change(slot, adjustments);
        row.position = startPosition + numTokens;
        row.target = -1;
        row.logprobs = sampling.logprobs;
      }
      firstToken += numTokens;
    }
    this.#rows.end();
    return this.#rows.items;
  }

  #add(sequence: number, token: number): Mutable<LogitRow> {
    const row = this.#rows.add();
    row.sequence = sequence;
    row.token = token;
    return row;
  }
}

function emptyRow(): Mutable<LogitRow> {
  return {
    token: 0,
    sequence: 0,
    sampling: null,
    adjustments: null,
    position: 0,
    target: 0,
    logprobs: null,
  };
}

/** What the sequences of one plan at a time get, in the same objects each time. */
export class SequenceResults {
  readonly #results = new ReusedList<Mutable<SequenceResult>>(emptyResult);
  readonly #promptLogprobs: (RowLogprobs[] | null)[] = [];

  /** In the plan's order; they stay as they are until the next {@linkcode begin}. */
  get all(): readonly SequenceResult[] {
    return this.#results.items;
  }

  /** Forgets those before: nothing has been drawn for these. */
  begin(sequences: readonly PlannedSequence[]): void {
    this.#results.begin();
    for (let index = 0; index < sequences.length; index++) {
      const result = this.#results.add();
      result.slot = sequences[index].slot;
      result.token = -1;
      result.logprobs = null;
      this.#promptLogprobs[index] = sequences[index].promptTargets ? [] : null;
      result.promptLogprobs = this.#promptLogprobs[index];
    }
    this.#results.end();
  }

  /** Takes what was drawn for `rows` from `first` on. */
  accept(rows: readonly LogitRow[], first: number, { tokens, logprobs }: Samples): void {
    for (let i = 0; i < tokens.length; i++) {
      const { target, sequence } = rows[first + i];
      const answer = logprobs[i];
      if (target < 0) {
        this.#results.items[sequence].token = tokens[i];
        this.#results.items[sequence].logprobs = answer;
      } else if (answer) {
        this.#promptLogprobs[sequence]?.push(answer);
      }
    }
  }
}
