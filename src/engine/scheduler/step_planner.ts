/**
 * Fills one step: which sequences it computes, how far, and with which blocks.
 * @module
 */
import type { Mutable } from "../reused.ts";
import type { BlockManager, BlockTable } from "./block_manager.ts";
import type { PlannedEntry, PlannedStep, StepBounds } from "./planned_step.ts";
import type { RunQueue } from "./run_queue.ts";
import type { Sequence, SequenceChunk } from "./sequence.ts";
import type { PlannedAdjustments } from "../step_plan.ts";

/** Flights that waiting prompts are cut into, for each stage of a pipeline: the bubble is then small. */
const FLIGHTS_PER_STAGE = 4;

/** Tokens of such a flight at least: shorter ones would read the weights more often than it gains. */
const MIN_FLIGHT_TOKENS = 64;

/** Options of {@linkcode StepPlanner}. */
export interface StepPlannerOptions extends StepBounds {
  /** Where blocks come from. */
  readonly blocks: BlockManager;
  /** Who runs and who waits. */
  readonly queue: RunQueue;
  /** Stages that a step passes through. */
  readonly pipelineStages: number;
}

/**
 * Plans single steps. Decoding sequences come first, least recently planned first, at most their
 * number divided by the stages, so that the flights of a pipeline are balanced; then prefill chunks
 * of running and then of waiting sequences, in their order, while tokens last. Prompts that take several
 * steps get half of those tokens at least, and no more where shorter ones need the rest: neither keeps the
 * other from its first token. In a pipeline prompts are cut into several flights even where one step
 * would hold them, as stages work side by side.
 *
 * Lists and chunks are kept from step to step: a decode step makes no object.
 */
export class StepPlanner {
  readonly #options: StepPlannerOptions;
  readonly #turn: Sequence[] = [];
  readonly #chunk: Mutable<SequenceChunk> = { start: 0, end: 0 };
  /** Plans under way with draws that their sequences wait for, the oldest first. */
  readonly #awaited: number[] = [];
  /** Whether there may be one more of these. */
  #mayAwait = true;

  /** Plans from `queue` into `blocks`. */
  constructor(options: StepPlannerOptions) {
    this.#options = options;
  }

  /** Plans `step`, given that the plans up to `retiredStep` have retired; it has no entries if there is nothing to do. */
  plan(planned: PlannedStep, step: number, retiredStep: number): void {
    planned.begin(step, this.#options);
    while (this.#awaited.length > 0 && this.#awaited[0] <= retiredStep) this.#awaited.shift();
    this.#mayAwait = this.#awaited.length < this.#options.pipelineStages;
    this.#planDecodes(planned);
    planned.tokensLeft = Math.min(planned.tokensLeft, this.#flightTokens());
    this.#planPrefills(planned, retiredStep);
    planned.end();
  }

  /** Prompt tokens that a step takes. */
  #flightTokens(): number {
    const { queue, pipelineStages, maxNumBatchedTokens } = this.#options;
    if (pipelineStages === 1) return maxNumBatchedTokens;
    const share = Math.ceil(queue.unplannedTokens / (FLIGHTS_PER_STAGE * pipelineStages));
    return Math.max(MIN_FLIGHT_TOKENS, share);
  }

  #planDecodes(planned: PlannedStep): void {
    const { running } = this.#options.queue;
    const { pipelineStages } = this.#options;
    const { step } = planned.plan;
    let decoding = 0, ready = 0;
    for (let i = 0; i < running.length; i++) {
      const sequence = running[i];
      if (sequence.prefilling) continue;
      decoding++;
      // A token in flight is with the first stage only once its step has left the last one.
      const known = sequence.numComputed < sequence.numKnown;
      const arrives = sequence.runsAhead && sequence.lastStep <= step - pipelineStages;
      if (known || arrives) this.#turn[ready++] = sequence;
    }
    shorten(this.#turn, ready);
    if (!isSorted(this.#turn)) this.#turn.sort(comparePlannedLast);
    const limit = Math.ceil(decoding / pipelineStages);
    for (let i = 0; i < ready && planned.length < limit && planned.tokensLeft > 0; i++) {
      const sequence = this.#turn[i];
      this.#planChunk(planned, sequence, sequence.numComputed + 1);
    }
  }

  #planPrefills(planned: PlannedStep, retiredStep: number): void {
    const half = Math.ceil(planned.tokensLeft / 2);
    const kept = Math.min(this.#longTokens(), half);
    planned.tokensLeft -= kept;
    this.#planRunning(planned, false);
    const keptInAll = this.#admit(planned, { retiredStep, kept, half });
    planned.tokensLeft += keptInAll;
    this.#planRunning(planned, true);
  }

  /** Tokens of long prompts that run and are not planned yet. */
  #longTokens(): number {
    const { running } = this.#options.queue;
    let tokens = 0;
    for (let i = 0; i < running.length; i++) {
      const sequence = running[i];
      if (!sequence.prefilling || !this.#isLong(sequence)) continue;
      tokens += sequence.prefillEnd - sequence.numComputed;
    }
    return tokens;
  }

  /** Whether a prompt takes more than a step by itself. */
  #isLong({ prefillTokens }: Sequence): boolean {
    return prefillTokens > this.#options.maxNumBatchedTokens;
  }

  /** Goes on with the prompts that run, the long ones or the others, while tokens last. */
  #planRunning(planned: PlannedStep, long: boolean): void {
    const { running } = this.#options.queue;
    let count = 0;
    for (let i = 0; i < running.length; i++) {
      const sequence = running[i];
      if (sequence.prefilling && this.#isLong(sequence) === long) this.#turn[count++] = sequence;
    }
    shorten(this.#turn, count);
    for (let i = 0; i < count && planned.tokensLeft > 0; i++) {
      const sequence = this.#turn[i];
      this.#planChunk(planned, sequence, sequence.chunkLimit(sequence.numComputed));
    }
  }

  /**
   * Admits sequences while tokens last, and plans all but long ones. Returns the tokens that are kept for these:
   * `kept` are already, and `half` are the most that may be.
   */
  #admit(
    planned: PlannedStep,
    { retiredStep, kept, half }: {
      readonly retiredStep: number;
      readonly kept: number;
      readonly half: number;
    },
  ): number {
    const { queue } = this.#options;
    let keptNow = kept;
    while (planned.tokensLeft > 0) {
      const sequence = queue.admit({ retiredStep, maxHitBlocks: planned.hitBlocksLeft });
      if (sequence === null) break;
      planned.hitBlocksLeft -= sequence.blocksShared;
      if (this.#isLong(sequence)) {
        const more = Math.min(half - keptNow, sequence.prefillTokens, planned.tokensLeft);
        keptNow += more;
        planned.tokensLeft -= more;
      } else {
        this.#planChunk(planned, sequence, sequence.chunkLimit(sequence.numComputed));
      }
    }
    return keptNow;
  }

  /**
   * Whether the step may draw a token for a sequence: it knows what changes the logits, and has room for it. Those
   * that wait for their own tokens wait for one another, too: else two that once drew in different steps would
   * do so for ever, in twice as many steps.
   */
  #mayDraw({ adjustmentsLeft }: PlannedStep, { adjustments }: Sequence): boolean {
    if (adjustments === null) return true;
    return adjustments.ready && adjustments.count <= adjustmentsLeft &&
      (this.#mayAwait || !adjustments.followsTokens);
  }

  /** Plans positions up to `wanted`, or as many as there is room for, and the blocks they need. */
  #planChunk(planned: PlannedStep, sequence: Sequence, wanted: number): void {
    const { blocks, queue } = this.#options;
    if (sequence.prefilling) {
      planned.hitBlocksLeft -= queue.takeCached(sequence, planned.hitBlocksLeft);
    }
    const limit = this.#mayDraw(planned, sequence)
      ? wanted
      : Math.min(wanted, sequence.prefillEnd - 1);
    if (limit <= sequence.numComputed) return;
    const room = queue.roomFor(sequence);
    const { table, numComputed: start } = sequence;
    if (room === 0 || table === null) return;
    const end = Math.min(limit, start + room, start + planned.tokensLeft);
    const chunk = this.#chunk;
    chunk.start = start;
    chunk.end = end;
    const draws = sequence.drawsAfter(chunk);
    const known = start < sequence.numKnown;
    const promptTargets = sequence.targetsOf(chunk);
    const entry = planned.add(sequence, table);
    entry.slot = table.slot;
    entry.startPosition = start;
    entry.numTokens = end - start;
    entry.tokens = known ? sequence.tokensOf(chunk) : null;
    entry.inputStep = known ? -1 : sequence.lastStep;
    blocks.extend(table, end);
    tellNewBlocks(entry, sequence, table);
    entry.sampling = draws ? sequence.plannedSampling : null;
    entry.adjustments = draws ? planAdjustments(planned, sequence, end) : null;
    entry.promptTargets = promptTargets;
    entry.promptLogprobs = promptTargets === null ? 0 : sequence.promptLogprobsWidth;
    planned.tokensLeft -= end - start;
    if (draws && !sequence.runsAhead) this.#await(planned.plan.step);
    sequence.planned(chunk, planned.plan.step);
    if (sequence.fullyPlanned) queue.remove(sequence);
  }

  #await(step: number): void {
    if (this.#awaited.at(-1) !== step) this.#awaited.push(step);
  }
}

/** Tells the ranks what of a table they do not know: cached blocks too, when the sequence was just admitted. */
function tellNewBlocks(entry: PlannedEntry, sequence: Sequence, { blocks }: BlockTable): void {
  const { newBlocks } = entry;
  const first = entry.firstNewBlock = sequence.blocksTold;
  for (let i = first; i < blocks.length; i++) newBlocks[i - first] = blocks[i];
  while (newBlocks.length > blocks.length - first) newBlocks.pop();
  sequence.blocksTold = blocks.length;
}

/** What changes the logits of the token that is drawn at position `end`. */
function planAdjustments(
  planned: PlannedStep,
  { adjustments, promptLength }: Sequence,
  end: number,
): PlannedAdjustments | null {
  if (adjustments === null) return null;
  planned.adjustmentsLeft -= adjustments.count;
  return adjustments.plan(end - promptLength);
}

function shorten(list: unknown[], length: number): void {
  while (list.length > length) list.pop();
}

/** Whose turn comes first. */
function comparePlannedLast(a: Sequence, b: Sequence): number {
  return a.lastStep - b.lastStep || a.arrival - b.arrival;
}

/** Mostly they are: sorting would copy the list. */
function isSorted(sequences: readonly Sequence[]): boolean {
  for (let i = 1; i < sequences.length; i++) {
    if (comparePlannedLast(sequences[i - 1], sequences[i]) > 0) return false;
  }
  return true;
}
