/**
 * Executes plans as the ranks of a pipeline would, and checks every promise that a plan makes them.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  decodePlan,
  decodeResult,
  encodePlan,
  encodeResult,
  maxPlanBytes,
} from "../../../src/engine/step_codec.ts";
import type {
  PlannedSampling,
  PlannedSequence,
  SequenceResult,
  StepPlan,
  StepResult,
} from "../../../src/engine/step_plan.ts";
import { AdjustmentTables } from "../../../src/engine/rank/adjustment_tables.ts";
import type { SchedulerOptions } from "../../../src/engine/scheduler/scheduler.ts";
import { adjustByTable, argmax } from "./_adjustments.ts";
import { drawToken, extendHash, fakeLogits, fakeRow, VOCAB_SIZE } from "./_fake_model.ts";

/** What a block remembers at one of its places. */
interface CacheEntry {
  readonly position: number;
  readonly token: number;
  /** Hash of the tokens up to this one: stands for keys and values, which depend on all of them. */
  readonly context: number;
}

interface PlanInFlight {
  readonly step: number;
  readonly result: StepResult;
  /** Blocks that the plan reads or writes, by slot. */
  readonly blocksOfSlot: BlocksOfSlot;
  /** Those that it writes, by slot. */
  readonly writtenOfSlot: BlocksOfSlot;
}

type BlocksOfSlot = ReadonlyMap<number, ReadonlySet<number>>;

/** One replica's ranks: block tables by slot, a paged cache, and a board of drawn tokens. */
export class FakeExecutor {
  readonly #options: SchedulerOptions;
  readonly #tables = new Map<number, number[]>();
  readonly #cache = new Map<number, CacheEntry>();
  readonly #board = new Map<string, number>();
  readonly #inFlight: PlanInFlight[] = [];
  readonly #adjustments = new AdjustmentTables();
  readonly #memory: Uint8Array;
  #steps = 0;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#memory = new Uint8Array(maxPlanBytes(options));
  }

  /** Plans that were sent, over the whole run. */
  get steps(): number {
    return this.#steps;
  }

  /** Plans that were sent and not answered. */
  get plansInFlight(): number {
    return this.#inFlight.length;
  }

  /** Sends a plan through the codec, checks it, and runs it. */
  send(original: StepPlan): void {
    const plan = decodePlan(this.#memory.subarray(0, encodePlan(original, this.#memory)));
    const { pipelineStages, lookahead, maxNumBatchedTokens, maxNumSeqs } = this.#options;
    assertEquals(plan.step, this.#steps++);
    assert(this.#inFlight.length < pipelineStages + lookahead, "too many plans in flight");
    assert(plan.sequences.length > 0, "empty plan");
    const tokens = plan.sequences.reduce((sum, sequence) => sum + sequence.numTokens, 0);
    assert(tokens <= maxNumBatchedTokens, "token budget exceeded");
    const adjusted = plan.sequences.reduce(
      (sum, { adjustments }) => sum + (adjustments?.count ?? 0),
      0,
    );
    assert(adjusted <= this.#options.maxAdjustments, "more logits adjusted than there is room for");
    const slots = new Set(plan.sequences.map((sequence) => sequence.slot));
    assertEquals(slots.size, plan.sequences.length, "a slot is planned twice");
    assert(plan.sequences.every(({ slot }) => slot >= 0 && slot < maxNumSeqs));

    const blocksOfSlot = new Map<number, ReadonlySet<number>>();
    const writtenOfSlot = new Map<number, ReadonlySet<number>>();
    for (const sequence of plan.sequences) {
      const table = this.#extendTable(sequence);
      const firstWritten = Math.floor(sequence.startPosition / this.#options.blockSize);
      blocksOfSlot.set(sequence.slot, new Set(table));
      writtenOfSlot.set(sequence.slot, new Set(table.slice(firstWritten)));
    }
    this.#checkOwnership(blocksOfSlot, writtenOfSlot);
    const sequences = plan.sequences.map((sequence) => this.#run(plan.step, sequence));
    const result = decodeResult(encodeResult({ step: plan.step, sequences }));
    this.#inFlight.push({ step: plan.step, result, blocksOfSlot, writtenOfSlot });
  }

  /** Answers the oldest plan. */
  retire(): StepResult {
    const oldest = this.#inFlight.shift();
    assert(oldest !== undefined);
    return oldest.result;
  }

  #extendTable({ slot, startPosition, numTokens, ...planned }: PlannedSequence): number[] {
    const { blockSize, numBlocks } = this.#options;
    const { firstNewBlock, newBlocks } = planned;
    const table = this.#tables.get(slot) ?? [];
    // Blocks are added in order, or the table starts anew; nothing is rewritten in between.
    assert(firstNewBlock === 0 || firstNewBlock === table.length, "gap or overlap in block table");
    const extended = [...table.slice(0, firstNewBlock), ...Array.from(newBlocks)];
    assert(Array.from(newBlocks).every((block) => block >= 0 && block < numBlocks));
    const needed = Math.ceil((startPosition + numTokens) / blockSize);
    assertEquals(extended.length, needed, "blocks are not exactly those of the planned tokens");
    this.#tables.set(slot, extended);
    return extended;
  }

  /**
   * A block that this plan or one in flight writes must not be of another slot, in this plan or in one in flight:
   * only what is written no more is shared, and only once the plans that wrote it have retired.
   */
  #checkOwnership(blocksOfSlot: BlocksOfSlot, writtenOfSlot: BlocksOfSlot): void {
    const plans = [...this.#inFlight, { blocksOfSlot, writtenOfSlot }];
    for (const other of plans) {
      assertDisjoint(writtenOfSlot, other.blocksOfSlot);
      assertDisjoint(other.writtenOfSlot, blocksOfSlot);
    }
  }

  #run(step: number, planned: PlannedSequence): SequenceResult {
    const { slot, startPosition, numTokens, sampling, promptTargets } = planned;
    assert(numTokens > 0);
    const tokens = planned.tokens ?? [this.#tokenOf(step, planned)];
    assertEquals(tokens.length, numTokens);
    let context = this.#readContext(slot, startPosition);
    const contexts: number[] = [];
    for (let i = 0; i < numTokens; i++) {
      context = extendHash(context, tokens[i]);
      contexts.push(context);
      const position = startPosition + i;
      this.#cache.set(this.#place(slot, position), { position, token: tokens[i], context });
    }
    const promptLogprobs = promptTargets === null ? null : Array.from(
      promptTargets,
      (target, i) => fakeRow(contexts[i], target, planned.promptLogprobs),
    );
    if (sampling === null) return { slot, token: -1, logprobs: null, promptLogprobs };
    const token = this.#draw(context, planned, sampling);
    this.#board.set(`${step}/${slot}`, token);
    const logprobs = sampling.logprobs === null ? null : fakeRow(context, token, sampling.logprobs);
    return { slot, token, logprobs, promptLogprobs };
  }

  #draw(context: number, planned: PlannedSequence, sampling: PlannedSampling): number {
    const { slot, startPosition, numTokens, adjustments } = planned;
    const draw = { ...sampling, position: startPosition + numTokens };
    if (adjustments === null) return drawToken(context, draw);
    const table = this.#adjustments.change(slot, adjustments);
    return argmax(adjustByTable(fakeLogits(context, draw), table));
  }

  /** The token that an earlier step drew for the slot, which must have left the last stage. */
  #tokenOf(step: number, { slot, inputStep }: PlannedSequence): number {
    const { pipelineStages, lookahead } = this.#options;
    assert(inputStep >= 0 && inputStep <= step - pipelineStages, "the input is not drawn yet");
    assert(inputStep >= step - pipelineStages - lookahead, "the input has left the token board");
    const token = this.#board.get(`${inputStep}/${slot}`);
    assert(token !== undefined && token >= 0 && token < VOCAB_SIZE);
    return token;
  }

  /** Attends to every earlier position: each must still be what this sequence wrote there. */
  #readContext(slot: number, length: number): number {
    let context = 0;
    for (let position = 0; position < length; position++) {
      const entry = this.#cache.get(this.#place(slot, position));
      assert(
        entry !== undefined && entry.position === position,
        "the cache holds another position",
      );
      context = extendHash(context, entry.token);
      assertEquals(entry.context, context, "the cache holds another sequence");
    }
    return context;
  }

  #place(slot: number, position: number): number {
    const { blockSize } = this.#options;
    const block = this.#tables.get(slot)?.[Math.floor(position / blockSize)];
    assert(block !== undefined, "the position has no block");
    return block * blockSize + position % blockSize;
  }
}

function assertDisjoint(written: BlocksOfSlot, used: BlocksOfSlot): void {
  for (const [slot, blocks] of written) {
    for (const [otherSlot, otherBlocks] of used) {
      if (otherSlot === slot) continue;
      assert(blocks.isDisjointFrom(otherBlocks), "a block that is written has two owners");
    }
  }
}
