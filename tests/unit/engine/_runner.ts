/**
 * A runner over a small checkpoint in this thread, with a scheduler before it: an engine without ranks.
 * @module
 */
import { assert } from "@std/assert";
import { createDeviceMesh } from "../../../src/distributed/device_mesh.ts";
import { SingleRankCommunicator } from "../../../src/distributed/single_rank_communicator.ts";
import { ModelRunner } from "../../../src/engine/rank/model_runner.ts";
import type { PendingStep } from "../../../src/engine/rank/running_step.ts";
import { DEFAULT_SAMPLING_PARAMS } from "../../../src/engine/sampling_params.ts";
import { Sampler } from "../../../src/engine/sampler/sampler.ts";
import {
  Scheduler,
  type SchedulerOutput,
  type SchedulerRequest,
  type SeededSamplingParams,
} from "../../../src/engine/scheduler/scheduler.ts";
import { Checkpoint } from "../../../src/models/checkpoint.ts";
import { loadModel } from "../../../src/models/load_model.ts";
import { readModelConfig } from "../../../src/models/model_config.ts";
import { KV_BLOCK_SIZE } from "../../../src/tensor/attention_kernels.ts";
import type { Device } from "../../../src/tensor/device.ts";
import type { Tensor } from "../../../src/tensor/tensor.ts";

/** Greedy sampling, to be changed. */
export const GREEDY: SeededSamplingParams = {
  ...DEFAULT_SAMPLING_PARAMS,
  temperature: 0,
  seed: 5n,
  maxTokens: 12,
  ignoreEos: true,
};

/** Options of {@linkcode RunnerHarness}. */
export interface RunnerHarnessOptions {
  readonly device: Device;
  readonly model: string;
  readonly record: boolean;
  readonly maxNumSeqs?: number;
  readonly maxNumBatchedTokens?: number;
  readonly numBlocks?: number;
  /** Rows of logits at once. */
  readonly maxLogitRows?: number;
  readonly lookahead?: number;
  /** Cached blocks that a step takes over; none when left out. */
  readonly maxHitBlocks?: number;
  /** Logits that a step changes; those of two vocabularies when left out. */
  readonly maxAdjustments?: number;
}

/** Runs requests through a scheduler and one runner. */
export class RunnerHarness implements Disposable {
  readonly runner: ModelRunner;
  readonly scheduler: Scheduler;
  /** f32 `[rows, padded vocabulary]`: those of the last step. */
  readonly logits: Tensor;
  readonly #owned = new DisposableStack();

  constructor(options: RunnerHarnessOptions) {
    const { device, record, maxNumSeqs = 6, maxNumBatchedTokens = 24, numBlocks = 24 } = options;
    const { maxLogitRows = maxNumSeqs, lookahead = 1, maxHitBlocks = 0 } = options;
    const config = readModelConfig(options.model);
    const { maxAdjustments = 2 * config.vocabSize } = options;
    const maxModelLen = 128;
    const format = "f32";
    const world = new SingleRankCommunicator({ copy: device.copy });
    const mesh = this.#owned.use(createDeviceMesh(world));
    const weights = this.#owned.use(Checkpoint.open(options.model, config));
    const model = this.#owned.use(loadModel({
      config,
      weights,
      device,
      mesh,
      format,
      activationDtype: device.activationDtype(format),
      maxModelLen,
      maxRows: maxNumBatchedTokens,
      maxLogitRows,
    }));
    const { vocab, logits } = model;
    assert(vocab && logits);
    this.logits = logits;
    const { tensorParallel } = mesh;
    const sampler = this.#owned.use(
      new Sampler({ device, tensorParallel, vocab, logits, maxAdjustments }),
    );
    this.runner = this.#owned.use(
      new ModelRunner({
        device,
        model,
        sampler,
        drawnTokens: "slots",
        record,
        maxNumSeqs,
        maxNumBatchedTokens,
        maxHitBlocks,
        maxModelLen,
      }),
    );
    this.runner.allocateCache(numBlocks);
    this.scheduler = new Scheduler({
      maxNumSeqs,
      maxNumBatchedTokens,
      numBlocks,
      blockSize: KV_BLOCK_SIZE,
      maxModelLen,
      pipelineStages: 1,
      lookahead,
      vocabSize: config.vocabSize,
      maxHitBlocks,
      maxAdjustments,
      cacheSecret: "",
    });
  }

  /** Runs all requests to their ends, as many steps under way as may be; returns their outputs by id. */
  run(requests: readonly SchedulerRequest[]): Map<number | string, SchedulerOutput[]> {
    const { scheduler, runner } = this;
    const outputs = new Map<number | string, SchedulerOutput[]>();
    for (const request of requests) {
      scheduler.add(request);
      outputs.set(request.id, []);
    }
    const pending: PendingStep[] = [];
    for (;;) {
      for (let plan = scheduler.schedule(); plan; plan = scheduler.schedule()) {
        pending.push(runner.start(plan));
      }
      const oldest = pending.shift();
      if (!oldest) break;
      const sequences = oldest.finish();
      assert(sequences);
      for (const output of scheduler.update({ step: oldest.step, sequences })) {
        outputs.get(output.id)!.push(structuredClone(output));
      }
    }
    return outputs;
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
