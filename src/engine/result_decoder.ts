/**
 * Reads step results one after the other.
 * @module
 */
import { type Mutable, ReusedList } from "./reused.ts";
import type { RowLogprobs, SequenceResult, StepResult } from "./step_plan.ts";
import { WireReader } from "./wire.ts";

/** slot, token, has logprobs, number of prompt log-probabilities. */
export const SEQUENCE_RESULT_BYTES: number = 4 * 4;
/** logprob, number of top tokens. */
export const ROW_BYTES: number = 8 + 4;
/** Id, log-probability. */
export const TOP_BYTES: number = 4 + 4;

const NO_BYTES = new Uint8Array(0);

/** Reads results into the same objects: those without log-probabilities leave no garbage. */
export class ResultDecoder {
  readonly #input = new WireReader(NO_BYTES);
  readonly #sequences = new ReusedList<Mutable<SequenceResult>>(emptyResult);
  readonly #result: Mutable<StepResult> = { step: 0, sequences: this.#sequences.items };

  /**
   * Reads a result from exactly the bytes that `encodeResult` gave. It stays as it is until the next call,
   * log-probabilities for good. Throws RangeError when the bytes are malformed.
   */
  decode(bytes: Uint8Array): StepResult {
    const input = this.#input;
    input.open(bytes);
    this.#result.step = input.float();
    const count = input.count(SEQUENCE_RESULT_BYTES);
    this.#sequences.begin();
    for (let i = 0; i < count; i++) readSequence(input, this.#sequences.add());
    this.#sequences.end();
    input.end();
    return this.#result;
  }
}

/** A sequence for which nothing has been drawn. */
export function emptyResult(): Mutable<SequenceResult> {
  return { slot: 0, token: -1, logprobs: null, promptLogprobs: null };
}

function readSequence(input: WireReader, result: Mutable<SequenceResult>): void {
  result.slot = input.int();
  result.token = input.int();
  const hasLogprobs = input.int() !== 0;
  const numPromptRows = input.count(ROW_BYTES, true);
  result.logprobs = hasLogprobs ? readRow(input) : null;
  result.promptLogprobs = numPromptRows < 0 ? null : readRows(input, numPromptRows);
}

function readRows(input: WireReader, count: number): RowLogprobs[] {
  const rows: RowLogprobs[] = [];
  for (let i = 0; i < count; i++) rows.push(readRow(input));
  return rows;
}

function readRow(input: WireReader): RowLogprobs {
  const logprob = input.float();
  const count = input.count(TOP_BYTES);
  return {
    logprob,
    topIds: input.int32Elements(count),
    topLogprobs: input.float32Elements(count),
  };
}
