/**
 * Fills one step: which sequences it computes, how far, and with which blocks.
 * @module
 */
import type { BlockManager } from "./block_manager.ts";
import type { RunQueue } from "./run_queue.ts";
import type { Sequence, SequenceChunk } from "./sequence.ts";
import type { PlannedSequence, StepPlan } from "../step_plan.ts";

/** Flights that waiting prompts are cut into, for each stage of a pipeline: the bubble is then small. */
const FLIGHTS_PER_STAGE = 4;

/** Tokens of such a flight at least: shorter ones would read the weights more often than it gains. */
const MIN_FLIGHT_TOKENS = 64;

/** A plan and the sequence behind each of its entries. */
export interface PlannedStep {
  /** What the ranks are told. */
  readonly plan: StepPlan;
  /** One sequence per entry of the plan. */
  readonly sequences: readonly Sequence[];
}

/** Options of {@linkcode StepPlanner}. */
export interface StepPlannerOptions {
  /** Where blocks come from. */
  readonly blocks: BlockManager;
  /** Who runs and who waits. */
  readonly queue: RunQueue;
  /** Stages that a step passes through. */
  readonly pipelineStages: number;
  /** Tokens computed in one step. */
  readonly maxNumBatchedTokens: number;
}

interface StepDraft {
  readonly step: number;
  readonly planned: PlannedSequence[];
  readonly sequences: Sequence[];
  tokensLeft: number;
}

/**
 * Plans single steps. Decoding sequences come first, least recently planned first, at most their
 * number divided by the stages, so that the flights of a pipeline are balanced; then prefill chunks
 * of running and then of waiting sequences, first come, first served, while tokens last. In a pipeline
 * prompts are cut into several flights even where one step would hold them, as stages work side by side.
 */
export class StepPlanner {
  readonly #options: StepPlannerOptions;

  /** Plans from `queue` into `blocks`. */
  constructor(options: StepPlannerOptions) {
    this.#options = options;
  }

  /** Plans `step`, given that the plans up to `retiredStep` have retired; null when it would be empty. */
  plan(step: number, retiredStep: number): PlannedStep | null {
    const { maxNumBatchedTokens } = this.#options;
    const draft: StepDraft = { step, planned: [], sequences: [], tokensLeft: maxNumBatchedTokens };
    this.#planDecodes(draft);
    draft.tokensLeft = Math.min(draft.tokensLeft, this.#flightTokens());
    this.#planPrefills(draft, retiredStep);
    if (draft.planned.length === 0) return null;
    return { plan: { step, sequences: draft.planned }, sequences: draft.sequences };
  }

  /** Prompt tokens that a step takes. */
  #flightTokens(): number {
    const { queue, pipelineStages, maxNumBatchedTokens } = this.#options;
    if (pipelineStages === 1) return maxNumBatchedTokens;
    const share = Math.ceil(queue.unplannedTokens / (FLIGHTS_PER_STAGE * pipelineStages));
    return Math.max(MIN_FLIGHT_TOKENS, share);
  }

  #planDecodes(draft: StepDraft): void {
    const { queue, pipelineStages } = this.#options;
    const decoding = queue.running.filter((sequence) => !sequence.prefilling);
    const limit = Math.ceil(decoding.length / pipelineStages);
    // A token in flight is with the first stage only once its step has left the last one.
    const ready = decoding.filter((sequence) =>
      sequence.numComputed < sequence.numKnown ||
      sequence.lastStep <= draft.step - pipelineStages
    );
    ready.sort((a, b) => a.lastStep - b.lastStep || a.arrival - b.arrival);
    for (const sequence of ready) {
      if (draft.planned.length === limit || draft.tokensLeft === 0) return;
      this.#planChunk(draft, sequence, sequence.numComputed + 1);
    }
  }

  #planPrefills(draft: StepDraft, retiredStep: number): void {
    const { queue } = this.#options;
    for (const sequence of queue.running.filter((sequence) => sequence.prefilling)) {
      if (draft.tokensLeft === 0) return;
      this.#planChunk(draft, sequence, sequence.chunkLimit(sequence.numComputed));
    }
    while (draft.tokensLeft > 0) {
      const sequence = queue.admit(retiredStep);
      if (sequence === null) return;
      this.#planChunk(draft, sequence, sequence.chunkLimit(0));
    }
  }

  /** Plans positions up to `limit`, or as many as there is room for, and the blocks they need. */
  #planChunk(draft: StepDraft, sequence: Sequence, limit: number): void {
    const { blocks, queue } = this.#options;
    const room = queue.roomFor(sequence);
    const { table, numComputed: start } = sequence;
    if (room === 0 || table === null) return;
    const end = Math.min(limit, start + room, start + draft.tokensLeft);
    const chunk: SequenceChunk = { start, end };
    const known = start < sequence.numKnown;
    const promptTargets = sequence.targetsOf(chunk);
    const firstNewBlock = table.blocks.length;
    draft.sequences.push(sequence);
    draft.planned.push({
      slot: table.slot,
      startPosition: start,
      numTokens: end - start,
      tokens: known ? sequence.tokensOf(chunk) : null,
      inputStep: known ? -1 : sequence.lastStep,
      firstNewBlock,
      newBlocks: blocks.extend(table, end),
      sampling: sequence.drawsAfter(chunk) ? sequence.plannedSampling : null,
      promptTargets,
      promptLogprobs: promptTargets === null ? 0 : sequence.promptLogprobsWidth,
    });
    draft.tokensLeft -= end - start;
    sequence.planned(chunk, draft.step);
    if (sequence.fullyPlanned) queue.remove(sequence);
  }
}
