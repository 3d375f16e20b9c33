/**
 * Which rows of logits a plan needs, and what becomes of the answers.
 * @module
 */
import type { SampleRow } from "../sampler/sample_row.ts";
import type { PlannedSequence, RowLogprobs, SequenceResult } from "../step_plan.ts";

/** A row of logits with where its answer belongs. */
export interface LogitRow extends SampleRow {
  /** Token of the batch. */
  readonly token: number;
  /** Index of the planned sequence. */
  readonly sequence: number;
}

/** What was drawn for each of some rows. */
export interface RowAnswers {
  /** The rows. */
  readonly rows: readonly LogitRow[];
  /** Drawn token of each row. */
  readonly tokens: ArrayLike<number>;
  /** Log-probabilities of each row, null where none were asked for. */
  readonly logprobs: readonly (RowLogprobs | null)[];
}

/** Rows of logits that a step needs: prompt tokens with targets, and each sequence's next token. */
export function logitRows(sequences: readonly PlannedSequence[]): LogitRow[] {
  const rows: LogitRow[] = [];
  let firstToken = 0;
  sequences.forEach((planned, sequence) => {
    const { promptTargets, promptLogprobs, sampling, startPosition, numTokens } = planned;
    for (let i = 0; promptTargets && i < promptTargets.length; i++) {
      rows.push({
        token: firstToken + i,
        sequence,
        sampling: null,
        position: startPosition + i + 1,
        target: promptTargets[i],
        logprobs: promptLogprobs,
      });
    }
    if (sampling) {
      rows.push({
        token: firstToken + numTokens - 1,
        sequence,
        sampling,
        position: startPosition + numTokens,
        target: -1,
        logprobs: sampling.logprobs,
      });
    }
    firstToken += numTokens;
  });
  return rows;
}

/** What every sequence of a plan got, in the plan's order. */
export function sequenceResults(
  sequences: readonly PlannedSequence[],
  answers: readonly RowAnswers[],
): SequenceResult[] {
  const tokens = sequences.map(() => -1);
  const drawnLogprobs: (RowLogprobs | null)[] = sequences.map(() => null);
  const promptLogprobs: (RowLogprobs[] | null)[] = sequences.map(
    ({ promptTargets }) => promptTargets ? [] : null,
  );
  for (const { rows, ...answer } of answers) {
    rows.forEach(({ sampling, sequence }, i) => {
      const logprobs = answer.logprobs[i];
      if (sampling) {
        tokens[sequence] = answer.tokens[i];
        drawnLogprobs[sequence] = logprobs;
      } else if (logprobs) {
        promptLogprobs[sequence]?.push(logprobs);
      }
    });
  }
  return sequences.map(({ slot }, index) => ({
    slot,
    token: tokens[index],
    logprobs: drawnLogprobs[index],
    promptLogprobs: promptLogprobs[index],
  }));
}
