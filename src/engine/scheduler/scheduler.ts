/**
 * Decides what each step computes: continuous batching with chunked prefill over paged blocks.
 * @module
 */
import type { Mutable } from "../reused.ts";
import { BlockManager, type BlockTable } from "./block_manager.ts";
import { BlockNamer } from "./block_names.ts";
import { PlannedStep } from "./planned_step.ts";
import { RunQueue } from "./run_queue.ts";
import { numPositions, type SchedulerOutput, type SchedulerRequest, Sequence } from "./sequence.ts";
import { StepPlanner } from "./step_planner.ts";
import type { PlannedSequence, SequenceResult, StepPlan, StepResult } from "../step_plan.ts";
import { type EngineStats, UnsupportedRequestError } from "../types.ts";

export type { SchedulerOutput, SchedulerRequest, SeededSamplingParams } from "./sequence.ts";

/** Options of {@linkcode Scheduler}. Numbers are positive integers; `lookahead` and `maxHitBlocks` may be 0. */
export interface SchedulerOptions {
  /** Requests that hold blocks at once. */
  readonly maxNumSeqs: number;
  /** Tokens computed in one step. */
  readonly maxNumBatchedTokens: number;
  /** Blocks of the KV cache. */
  readonly numBlocks: number;
  /** Tokens in a block. */
  readonly blockSize: number;
  /** Positions that a request may take, prompt and output together. */
  readonly maxModelLen: number;
  /** Stages that a step passes through, each working on another step. */
  readonly pipelineStages: number;
  /** Steps planned beyond the stages, so that a device need not wait for the scheduler. */
  readonly lookahead: number;
  /** Entries of the vocabulary. */
  readonly vocabSize: number;
  /**
   * Cached blocks that requests take over in one step: those of the longest context at least, so that each request
   * finds room; 0 without a prefix cache.
   */
  readonly maxHitBlocks: number;
  /** Logits that are changed in one step, of all requests together: those of a whole vocabulary at least. */
  readonly maxAdjustments: number;
  /** What names of cached blocks depend on: random, and known to nobody, where users are to learn nothing of others. */
  readonly cacheSecret: string;
}

/**
 * The scheduler of one replica. Pure: requests and step results in, plans out; no clock, no device, no
 * randomness, so the same calls give the same plans.
 *
 * Up to `pipelineStages + lookahead` plans are under way. A request's tokens do not depend on what
 * else runs, on how it is cut into chunks or on preemption; only when they come does.
 *
 * @example
 * ```ts ignore
 * scheduler.add({ id: 1, promptTokenIds: [1, 2, 3], sampling, eosTokenIds: [0] });
 * for (let plan = scheduler.schedule(); plan !== null; plan = scheduler.schedule()) send(plan);
 * for (const output of scheduler.update(resultOfOldest)) deliver(output);
 * ```
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #blocks: BlockManager;
  readonly #queue: RunQueue;
  readonly #planner: StepPlanner;
  readonly #namer: BlockNamer | null;
  readonly #requests = new Map<number | string, Sequence>();
  /** By step, as many as may be under way: each is written anew when it has retired. */
  readonly #steps: readonly PlannedStep[];
  readonly #outputs: SchedulerOutput[] = [];
  readonly #stats: Mutable<EngineStats>;
  #arrivals = 0;
  #nextStep = 0;
  #retiredStep = -1;

  /** Makes an idle scheduler; throws RangeError naming an option out of range. */
  constructor(options: SchedulerOptions) {
    checkOptions(options);
    this.#options = options;
    const { numBlocks, blockSize, maxNumSeqs } = options;
    this.#stats = {
      running: 0,
      waiting: 0,
      kvBlocksFree: numBlocks,
      kvBlocksTotal: numBlocks,
      preemptions: 0,
      prefixCacheQueries: 0,
      prefixCacheHits: 0,
      promptTokens: 0,
      generationTokens: 0,
      steps: 0,
    };
    const length = options.pipelineStages + options.lookahead;
    this.#steps = Array.from({ length }, () => new PlannedStep());
    this.#blocks = new BlockManager({ numBlocks, blockSize, numSlots: maxNumSeqs });
    this.#queue = new RunQueue(this.#blocks);
    this.#namer = options.maxHitBlocks > 0 ? new BlockNamer(options.cacheSecret) : null;
    this.#planner = new StepPlanner({ ...options, blocks: this.#blocks, queue: this.#queue });
  }

  /** True while a request is live or a plan is in flight. */
  get hasWork(): boolean {
    return this.#requests.size > 0 || this.plansInFlight > 0;
  }

  /** Plans that were handed out and have not retired. */
  get plansInFlight(): number {
    return this.#nextStep - this.#retiredStep - 1;
  }

  /** Counters and gauges as of now, in the same object each time. */
  get stats(): EngineStats {
    const stats = this.#stats;
    stats.waiting = this.#queue.numWaiting;
    stats.running = this.#requests.size - stats.waiting;
    stats.kvBlocksFree = this.#blocks.numFree;
    stats.preemptions = this.#queue.preemptions;
    stats.prefixCacheQueries = this.#queue.cacheQueries;
    stats.prefixCacheHits = this.#queue.cacheHits;
    stats.steps = this.#retiredStep + 1;
    return stats;
  }

  /**
   * Queues a request. It fits when `promptLength + maxTokens <= maxModelLen` and the positions that
   * are ever computed (all but that of the last token) fit the pool alone.
   *
   * @throws {UnsupportedRequestError} when it can never run here; `param` is `prompt`, `maxTokens` or
   * `allowedTokenIds`.
   * @throws {RangeError} when a live request has the same id.
   */
  add(request: SchedulerRequest): void {
    if (this.#requests.has(request.id)) {
      throw new RangeError(`Cannot add a request as its id is in use: ${request.id}`);
    }
    this.#check(request);
    const arrival = this.#arrivals++;
    const { blockSize, vocabSize } = this.#options;
    const sequence = new Sequence(request, { arrival, blockSize, namer: this.#namer, vocabSize });
    this.#requests.set(request.id, sequence);
    this.#queue.add(sequence);
  }

  /**
   * Ends a request from the next plan on; it gives no further output. Its blocks are free when the
   * plans in flight have retired. An id that is not live (it may have just ended) is left alone.
   */
  abort(id: number | string): void {
    const sequence = this.#requests.get(id);
    if (sequence === undefined) return;
    sequence.finished = true;
    this.#forget(sequence);
  }

  /**
   * Plans the next step; null when enough plans are under way or nothing can be computed yet. The plan stays
   * as it is until {@linkcode update} has taken its result.
   */
  schedule(): StepPlan | null {
    if (this.plansInFlight === this.#steps.length) return null;
    const planned = this.#steps[this.#nextStep % this.#steps.length];
    this.#planner.plan(planned, this.#nextStep, this.#retiredStep);
    if (planned.length === 0) return null;
    this.#nextStep++;
    return planned.plan;
  }

  /** Calls back with each request that was planned for the first time since the last call. */
  takeBegun(take: (id: number | string) => void): void {
    this.#queue.takeBegun(take);
  }

  /**
   * Retires the oldest plan and returns what it added to each request; that stays as it is until the next
   * call.
   *
   * @throws {Error} when the result does not answer the oldest plan; the scheduler is then unchanged.
   */
  update(result: StepResult): readonly SchedulerOutput[] {
    const oldest = this.plansInFlight > 0 ? this.#retiredStep + 1 : null;
    if (oldest === null || oldest !== result.step) {
      throw new Error(
        `Cannot update as the result answers another step than ${oldest}: ${result.step}`,
      );
    }
    const { plan, sequences, tables } = this.#steps[oldest % this.#steps.length];
    checkResult(plan, result, this.#options.vocabSize);
    this.#retiredStep = oldest;
    let count = 0;
    for (let i = 0; i < sequences.length; i++) {
      const planned = plan.sequences[i];
      const output = sequences[i].finished
        ? null
        : this.#accept(sequences[i], planned, result.sequences[i]);
      if (output !== null) this.#outputs[count++] = output;
      this.#share(sequences[i], tables[i], planned.startPosition + planned.numTokens);
    }
    while (this.#outputs.length > count) this.#outputs.pop();
    this.#blocks.retire(oldest);
    return this.#outputs;
  }

  /**
   * Throws when a block or slot has two owners or was leaked, or a sequence is out of order; for
   * tests, as it visits the whole pool.
   */
  checkIntegrity(): void {
    this.#queue.checkIntegrity();
    this.#blocks.checkIntegrity();
  }

  #check({ promptTokenIds, sampling }: SchedulerRequest): void {
    const { maxModelLen, vocabSize } = this.#options;
    const { length } = promptTokenIds;
    if (length < 1) {
      throw new UnsupportedRequestError("Cannot generate as the prompt is empty", "prompt");
    }
    for (let i = 0; i < length; i++) {
      const id = promptTokenIds[i];
      if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
        throw new UnsupportedRequestError(
          `Cannot generate as prompt token ${i} lies outside the vocabulary of ${vocabSize}: ${id}`,
          "prompt",
        );
      }
    }
    if (length + sampling.maxTokens > maxModelLen) {
      throw new UnsupportedRequestError(
        `Cannot generate as prompt and maxTokens exceed the context of ${maxModelLen} tokens: ` +
          `${length} + ${sampling.maxTokens}`,
        length < maxModelLen ? "maxTokens" : "prompt",
      );
    }
    const { numBlocks, blockSize } = this.#blocks;
    if (this.#blocks.blocksFor(numPositions(length, sampling.maxTokens)) > numBlocks) {
      throw new UnsupportedRequestError(
        `Cannot generate as prompt and maxTokens exceed the KV cache of ${numBlocks} blocks of ` +
          `${blockSize} tokens: ${length} + ${sampling.maxTokens}`,
        this.#blocks.blocksFor(length) <= numBlocks ? "maxTokens" : "prompt",
      );
    }
  }

  #accept(
    sequence: Sequence,
    planned: PlannedSequence,
    result: SequenceResult,
  ): SchedulerOutput | null {
    const { promptTargets } = planned;
    const end = planned.startPosition + planned.numTokens;
    this.#stats.promptTokens += sequence.retirePrompt(end);
    if (promptTargets !== null) {
      sequence.addPromptLogprobs(promptTargets, result.promptLogprobs ?? []);
    }
    // A chunk that draws nothing ends the request only where nothing is ever drawn (maxTokens 0).
    if (planned.sampling === null && end < sequence.numPositions) return null;
    const output = planned.sampling === null
      ? sequence.acceptPromptEnd()
      : sequence.acceptToken(result);
    this.#stats.generationTokens += output.tokenIds.length;
    if (output.finishReason !== null) this.#forget(sequence);
    return output;
  }

  /** Lets other sequences find the blocks that are full now that positions up to `end` are computed. */
  #share(sequence: Sequence, table: BlockTable, end: number): void {
    const full = sequence.blocksToShare(end);
    for (let place = sequence.blocksShared; place < full; place++) {
      this.#blocks.share(table, place, sequence.nameOf(place));
      sequence.blocksShared = place + 1;
    }
  }

  #forget(sequence: Sequence): void {
    this.#requests.delete(sequence.id);
    this.#queue.remove(sequence);
  }
}

function checkOptions({ cacheSecret: _, ...numbers }: SchedulerOptions): void {
  for (const [name, value] of Object.entries(numbers)) {
    const least = name === "lookahead" || name === "maxHitBlocks" ? 0 : 1;
    if (!Number.isSafeInteger(value) || value < least) {
      throw new RangeError(
        `Cannot schedule as ${name} must be an integer of at least ${least}: current value is ${value}`,
      );
    }
  }
  const { maxHitBlocks, maxModelLen, blockSize } = numbers;
  if (maxHitBlocks === 0 || maxHitBlocks >= Math.floor((maxModelLen - 1) / blockSize)) return;
  throw new RangeError(
    `Cannot schedule as maxHitBlocks must hold a context of ${maxModelLen} tokens, or be 0: ` +
      `current value is ${maxHitBlocks}`,
  );
}

/** Throws unless `result` answers `plan` entry by entry. */
function checkResult(plan: StepPlan, { sequences }: StepResult, vocabSize: number): void {
  if (plan.sequences.length !== sequences.length) {
    throw new Error(
      `Cannot update as the result of step ${plan.step} must have ${plan.sequences.length} entries: ` +
        `it has ${sequences.length}`,
    );
  }
  for (let i = 0; i < sequences.length; i++) {
    if (answers(plan.sequences[i], sequences[i], vocabSize)) continue;
    const { slot, token } = sequences[i];
    throw new Error(
      `Cannot update as entry ${i} of step ${plan.step} does not fit its plan: ` +
        `slot ${slot}, token ${token}`,
    );
  }
}

function answers(planned: PlannedSequence, result: SequenceResult, vocabSize: number): boolean {
  const { slot, token, promptLogprobs } = result;
  const fits = planned.sampling === null
    ? token === -1
    : Number.isInteger(token) && token >= 0 && token < vocabSize;
  const numTargets = planned.promptTargets?.length ?? 0;
  return fits && slot === planned.slot && (promptLogprobs?.length ?? 0) === numTargets;
}
