/**
 * Turns step plans into model runs on one rank.
 * @module
 */
import type { CausalLm } from "../../models/causal_lm.ts";
import type { Device } from "../../tensor/device.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { AdjustmentTables } from "./adjustment_tables.ts";
import { BlockTables } from "./block_tables.ts";
import { bucketOf, decodeBuckets } from "./decode_buckets.ts";
import type { LogitRow } from "./logit_rows.ts";
import { RecordedWork } from "./recorded_work.ts";
import { type PendingStep, RunningStep } from "./running_step.ts";
import type { Sampler } from "../sampler/sampler.ts";
import { StepArena, type StepCounts } from "./step_arena.ts";
import { type DrawnTokens, StepBatch } from "./step_batch.ts";
import type { PlannedSequence, StepPlan } from "../step_plan.ts";
import { StepSampler } from "./step_sampler.ts";

/** Options of {@linkcode ModelRunner}. */
export interface ModelRunnerOptions {
  /** Device of the model. */
  readonly device: Device;
  /** This rank's stage of the model. */
  readonly model: CausalLm;
  /** On the last stage. */
  readonly sampler: Sampler | null;
  /**
   * Where input tokens that were not known when planned come from: `slots` where this rank is the only
   * stage and draws them itself, a board on the first stage of several, null on stages that take none.
   */
  readonly drawnTokens: DrawnTokens;
  /** Whether decode steps are padded to a few sizes and recorded; the same on all ranks. */
  readonly record: boolean;
  /** Sequences of the largest step. */
  readonly maxNumSeqs: number;
  /** Tokens of the largest step. */
  readonly maxNumBatchedTokens: number;
  /** Cached blocks that sequences take over in one step at most. */
  readonly maxHitBlocks: number;
  /** Positions that a sequence may take. */
  readonly maxModelLen: number;
}

/** Decode steps of one size. */
interface DecodeBatch {
  readonly batch: StepBatch;
  readonly forward: RecordedWork;
  /** By the key of the sampling work. */
  readonly sampling: Map<string, RecordedWork>;
}

/**
 * Executes plans: writes the flattened batch into one device buffer that lives as long as the runner,
 * queues the stage's work, and on the last stage that of the sampler. Block tables and drawn tokens stay
 * on the device by slot, so a decode step reads nothing that the host must first fetch.
 */
export class ModelRunner implements Disposable {
  readonly #options: ModelRunnerOptions;
  readonly #owned = new DisposableStack();
  readonly #arena: StepArena;
  readonly #tables: BlockTables;
  /** i32 `[maxNumSeqs]`: the token drawn last for each slot. */
  readonly #slotTokens: Tensor;
  readonly #sampler: StepSampler | null;
  readonly #buckets: readonly number[];
  readonly #decodeBatches = new Map<number, DecodeBatch>();
  readonly #freeSteps: RunningStep[] = [];
  readonly #adjustments = new AdjustmentTables();

  /** Allocates the batch buffers; {@linkcode allocateCache} must follow. */
  constructor(options: ModelRunnerOptions) {
    const { device, model, sampler, drawnTokens, maxNumSeqs, maxModelLen } = options;
    this.#options = options;
    this.#buckets = decodeBuckets(maxNumSeqs);
    using owned = new DisposableStack();
    this.#arena = owned.use(new StepArena(device, this.#largest));
    this.#tables = owned.use(new BlockTables({ device, numSlots: maxNumSeqs, maxModelLen }));
    this.#slotTokens = owned.use(
      Tensor.allocate(device, { shape: [maxNumSeqs], dtype: "i32" }),
    );
    this.#slotTokens.upload(new Int32Array(maxNumSeqs));
    const slotTokens = drawnTokens === "slots" ? this.#slotTokens : null;
    this.#sampler = sampler && new StepSampler({ device, model, sampler, slotTokens });
    this.#owned = owned.move();
  }

  /** Allocates the KV cache, and one more block for padding. Recordings are made anew. */
  allocateCache(numBlocks: number): void {
    this.#forgetRecordings();
    this.#options.model.allocateCache(numBlocks + 1);
    this.#tables.reset(numBlocks);
  }

  /**
   * Runs a step of padding that is as large as a step may become, then decode steps of every recorded
   * size, and records these: afterwards all memory that steps take is taken. Every rank calls it.
   */
  warmUp(): void {
    const { device, sampler, record } = this.#options;
    sampler?.reserve();
    this.#pad(this.#batch(this.#largest), this.#sampler?.rowsAtOnce ?? 0, null);
    for (const size of record ? this.#buckets : []) {
      const decode = this.#decodeBatch(size);
      // Once as it is, once to record it.
      for (let i = 0; i < 2; i++) this.#pad(decode.batch, size, decode);
    }
    device.synchronize();
  }

  /** Queues a plan's work; the plan is not looked at later. Plans are started in the order of their steps. */
  start(plan: StepPlan): PendingStep {
    const { record } = this.#options;
    const { sequences } = plan;
    const step = this.#freeSteps.pop() ?? this.#newStep();
    step.begin(plan);
    const { rows } = step;
    const decode = isDecode(sequences) ? this.#decodeBatch(sequences.length) : null;
    const batch = decode?.batch ?? this.#batch(countsOf(sequences, rows));
    batch.write(sequences, rows);
    const recorded = record ? decode : null;
    step.rowsToSample = recorded && rows.length > 0 ? batch.layout.counts.rows : rows.length;
    this.#run(step, batch, recorded);
    return step;
  }

  /** Runs a batch of padding alone. */
  #pad(batch: StepBatch, rowsToSample: number, recorded: DecodeBatch | null): void {
    const step = this.#newStep();
    batch.write([], step.rows);
    step.rowsToSample = rowsToSample;
    this.#run(step, batch, recorded);
    step.finish();
  }

  #newStep(): RunningStep {
    return new RunningStep({
      samples: this.#options.sampler !== null,
      adjustments: this.#adjustments,
      onFinished: (step) => this.#freeSteps.push(step),
    });
  }

  /** Computes a written batch and samples the rows of the step. */
  #run(step: RunningStep, batch: StepBatch, recorded: DecodeBatch | null): void {
    const { model } = this.#options;
    const { tokens } = batch.layout.counts;
    this.#sampler?.prepare(step);
    model.receive(tokens);
    if (recorded) recorded.forward.run();
    else this.#forward(batch);
    model.send(tokens);
    this.#sampler?.draw(step, batch, recorded && recorded.sampling);
  }

  #forward({ forward, layout }: StepBatch): void {
    const { device, model, drawnTokens } = this.#options;
    const { ids, sources } = layout.device;
    if (drawnTokens === "slots") {
      device.gatherTokens(ids, this.#slotTokens, sources, forward.tokens);
    }
    model.forward(forward);
  }

  get #largest(): StepCounts {
    const { maxNumSeqs, maxNumBatchedTokens: tokens, maxHitBlocks } = this.#options;
    return {
      tokens,
      sequences: maxNumSeqs,
      rows: tokens,
      tableEntries: tokens + maxHitBlocks,
    };
  }

  #batch(counts: StepCounts): StepBatch {
    return new StepBatch({
      arena: this.#arena,
      layout: this.#arena.layOut(counts),
      tables: this.#tables,
      drawnTokens: this.#options.drawnTokens,
    });
  }

  /** The batch of decode steps of `count` sequences; each size is laid out once. */
  #decodeBatch(count: number): DecodeBatch {
    const size = this.#options.record ? bucketOf(count, this.#buckets) : count;
    return this.#decodeBatches.get(size) ?? this.#addDecodeBatch(size);
  }

  #addDecodeBatch(size: number): DecodeBatch {
    const { device } = this.#options;
    const batch = this.#batch({ tokens: size, sequences: size, rows: size, tableEntries: size });
    const forward = new RecordedWork(device, () => this.#forward(batch));
    const made = { batch, forward, sampling: new Map<string, RecordedWork>() };
    this.#decodeBatches.set(size, made);
    return made;
  }

  #forgetRecordings(): void {
    for (const { forward, sampling } of this.#decodeBatches.values()) {
      forward[Symbol.dispose]();
      for (const recorded of sampling.values()) recorded[Symbol.dispose]();
    }
    this.#decodeBatches.clear();
  }

  /** Frees recordings and batch buffers when their work has ended. */
  [Symbol.dispose](): void {
    try {
      this.#options.device.synchronize();
    } catch {
      // Whoever waited for that work knows that it failed.
    }
    this.#forgetRecordings();
    this.#owned.dispose();
  }
}

/** Whether each sequence computes the one token after those it has, and nothing else is asked. */
function isDecode(sequences: readonly PlannedSequence[]): boolean {
  for (let index = 0; index < sequences.length; index++) {
    const { numTokens, promptTargets, newBlocks } = sequences[index];
    if (numTokens !== 1 || promptTargets !== null || newBlocks.length > 1) return false;
  }
  return true;
}

function countsOf(sequences: readonly PlannedSequence[], rows: readonly LogitRow[]): StepCounts {
  let [tokens, tableEntries] = [0, 0];
  for (const { numTokens, newBlocks } of sequences) {
    tokens += numTokens;
    tableEntries += newBlocks.length;
  }
  return { tokens, sequences: sequences.length, rows: rows.length, tableEntries };
}
