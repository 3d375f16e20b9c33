/**
 * Packs step plans and step results for the channel between the scheduler and the ranks. Scalars that
 * need more than 32 bits (step numbers, probabilities) travel as 64-bit floats, everything bit for bit.
 * The bulk of an array is in the byte order of the machine, which on every supported one is little-endian.
 * @module
 */
import type {
  PlannedAdjustments,
  PlannedSampling,
  PlannedSequence,
  RowLogprobs,
  SequenceResult,
  StepPlan,
  StepResult,
} from "./step_plan.ts";
import { MASK, NO_LOGPROBS, PlanDecoder, SAMPLING, SEQUENCE_BYTES } from "./plan_decoder.ts";
import { ResultDecoder, ROW_BYTES, SEQUENCE_RESULT_BYTES, TOP_BYTES } from "./result_decoder.ts";
import { LOGIT_ENTRY_WORDS } from "../tensor/sampling_kernels.ts";
import { intsBytes, WireWriter } from "./wire.ts";

const PLAN_HEADER_BYTES = 8 + 4;
/** Three floats, five integers. */
const SAMPLING_BYTES = 3 * 8 + 5 * 4;
/** Number of entries, and of those that are new. */
const ADJUSTMENTS_BYTES = 2 * 4;
/** Place and entry. */
const ADJUSTMENT_BYTES = 4 + 4 * LOGIT_ENTRY_WORDS;
const RESULT_HEADER_BYTES = 8 + 4;
const NO_BYTES = new Uint8Array(0);

/** Options of {@linkcode maxPlanBytes}. */
export interface PlanLimits {
  /** Sequences in one step at most. */
  readonly maxNumSeqs: number;
  /** Tokens in one step at most. */
  readonly maxNumBatchedTokens: number;
  /** Cached blocks that sequences take over in one step at most. */
  readonly maxHitBlocks: number;
  /** Logits that are changed in one step at most. */
  readonly maxAdjustments: number;
  /** Entries of the vocabulary: bits of a mask. */
  readonly vocabSize: number;
}

/** Bytes that suffice for every plan within the limits, each of whose new blocks is cached or holds a new token. */
export function maxPlanBytes(limits: PlanLimits): number {
  const sequences = Math.min(limits.maxNumSeqs, limits.maxNumBatchedTokens);
  const perSequence = SEQUENCE_BYTES + SAMPLING_BYTES + 3 * intsBytes(0) +
    ADJUSTMENTS_BYTES + intsBytes(Math.ceil(limits.vocabSize / 32));
  // Tokens, new blocks and prompt targets number at most one each per token of the step.
  const integers = 3 * limits.maxNumBatchedTokens + limits.maxHitBlocks;
  return PLAN_HEADER_BYTES + sequences * perSequence + 4 * integers +
    ADJUSTMENT_BYTES * limits.maxAdjustments;
}

/** Packs `plan` at the start of `into` and returns the bytes used; throws RangeError when it is too small. */
export function encodePlan(plan: StepPlan, into: Uint8Array): number {
  return new PlanEncoder().encode(plan, into);
}

/** Packs plans one after the other: into one buffer it leaves no garbage. */
export class PlanEncoder {
  readonly #out = new WireWriter(NO_BYTES);

  /** Packs `plan` at the start of `into` and returns the bytes used; throws RangeError when it is too small. */
  encode({ step, sequences }: StepPlan, into: Uint8Array): number {
    const out = this.#out;
    out.open(into);
    out.float(step);
    out.int(sequences.length);
    for (let i = 0; i < sequences.length; i++) writeSequence(out, sequences[i]);
    return out.length;
  }
}

/** Reads a plan from exactly the bytes that {@linkcode encodePlan} used; throws RangeError when they are malformed. */
export function decodePlan(bytes: Uint8Array): StepPlan {
  return new PlanDecoder().decode(bytes);
}

/** Packs `result` into an array of its own. */
export function encodeResult(result: StepResult): Uint8Array<ArrayBuffer> {
  return new ResultEncoder().encode(result.step, result.sequences);
}

/** Packs results one after the other: those of one length leave no garbage. */
export class ResultEncoder {
  #bytes = NO_BYTES;
  readonly #out = new WireWriter(NO_BYTES);

  /** Packs the result of a step; the bytes stay as they are until the next call. */
  encode(step: number, sequences: readonly SequenceResult[]): Uint8Array<ArrayBuffer> {
    const length = resultBytes(sequences);
    if (length !== this.#bytes.length) this.#bytes = new Uint8Array(length);
    const out = this.#out;
    out.open(this.#bytes);
    out.float(step);
    out.int(sequences.length);
    for (let i = 0; i < sequences.length; i++) {
      const { slot, token, logprobs, promptLogprobs } = sequences[i];
      out.int(slot);
      out.int(token);
      out.int(logprobs === null ? 0 : 1);
      out.int(promptLogprobs === null ? -1 : promptLogprobs.length);
      if (logprobs !== null) writeRow(out, logprobs);
      if (promptLogprobs !== null) { for (const row of promptLogprobs) writeRow(out, row); }
    }
    return this.#bytes;
  }
}

/** Reads a result from exactly the bytes of {@linkcode encodeResult}; throws RangeError when they are malformed. */
export function decodeResult(bytes: Uint8Array): StepResult {
  return new ResultDecoder().decode(bytes);
}

function writeSequence(out: WireWriter, sequence: PlannedSequence): void {
  out.int(sequence.slot);
  out.int(sequence.startPosition);
  out.int(sequence.numTokens);
  out.float(sequence.inputStep);
  out.int(sequence.firstNewBlock);
  out.int(sequence.promptLogprobs);
  const { sampling, adjustments } = sequence;
  out.int(
    sampling === null ? SAMPLING.none : adjustments === null ? SAMPLING.plain : SAMPLING.adjusted,
  );
  if (sampling !== null) {
    writeSampling(out, sampling);
    if (adjustments !== null) writeAdjustments(out, adjustments);
  }
  out.ints(sequence.tokens);
  out.ints(sequence.newBlocks);
  out.ints(sequence.promptTargets);
}

function writeSampling(out: WireWriter, sampling: PlannedSampling): void {
  out.float(sampling.temperature);
  out.float(sampling.topP);
  out.float(sampling.minP);
  out.int(sampling.topK);
  // Halves of a seed are unsigned; their bits are the same.
  out.int(sampling.seedLow | 0);
  out.int(sampling.seedHigh | 0);
  out.int(sampling.choice);
  out.int(sampling.logprobs ?? NO_LOGPROBS);
}

function writeAdjustments(out: WireWriter, adjustments: PlannedAdjustments): void {
  const { count, places, entries, masked, mask } = adjustments;
  if (entries.length !== LOGIT_ENTRY_WORDS * places.length) {
    throw new RangeError(
      `Cannot pack adjustments as entries and places differ in number: ` +
        `${entries.length / LOGIT_ENTRY_WORDS} and ${places.length}`,
    );
  }
  out.int(count);
  out.int(places.length);
  out.elements(places);
  out.elements(entries);
  out.int(!masked ? MASK.none : mask === null ? MASK.same : mask.length);
  if (masked && mask !== null) out.elements(mask);
}

function writeRow(out: WireWriter, row: RowLogprobs): void {
  if (row.topIds.length !== row.topLogprobs.length) {
    throw new RangeError(
      `Cannot pack log-probabilities as ids and values differ in number: ` +
        `${row.topIds.length} and ${row.topLogprobs.length}`,
    );
  }
  out.float(row.logprob);
  out.int(row.topIds.length);
  out.elements(row.topIds);
  out.elements(row.topLogprobs);
}

function resultBytes(sequences: readonly SequenceResult[]): number {
  let bytes = RESULT_HEADER_BYTES;
  for (let i = 0; i < sequences.length; i++) {
    const { logprobs, promptLogprobs } = sequences[i];
    bytes += SEQUENCE_RESULT_BYTES;
    if (logprobs !== null) bytes += rowBytes(logprobs);
    if (promptLogprobs !== null) { for (const row of promptLogprobs) bytes += rowBytes(row); }
  }
  return bytes;
}

function rowBytes(row: RowLogprobs): number {
  return ROW_BYTES + TOP_BYTES * row.topIds.length;
}
