/**
 * What a decode step costs beside its kernels: `deno run -A bench/gpu/overhead.ts 1b`. The runner's own
 * recordings are replayed back to back, and compared with steps that are planned, started and read.
 * @module
 */
import { ModelRunner } from "../../src/engine/rank/model_runner.ts";
import { Sampler } from "../../src/engine/sampler/sampler.ts";
import type { PlannedSequence, StepPlan } from "../../src/engine/step_plan.ts";
import { createDeviceMesh } from "../../src/distributed/device_mesh.ts";
import { SingleRankCommunicator } from "../../src/distributed/single_rank_communicator.ts";
import { DummyWeights } from "../../src/models/dummy_weights.ts";
import { loadModel } from "../../src/models/load_model.ts";
import { openCudaDevice } from "../../src/tensor/cuda/device.ts";
import { KV_BLOCK_SIZE } from "../../src/tensor/attention_kernels.ts";
import type { Device, Recording } from "../../src/tensor/device.ts";
import { report } from "./_figures.ts";
import { ConfigFolder } from "./_models.ts";
import { secondsOf } from "./_timing.ts";

const BATCHES = [1, 8, 64];
const PROMPT_TOKENS = 512;
const STEPS = 128;

/** Blocks that a sequence takes over the whole measurement. */
const BLOCKS = Math.ceil((PROMPT_TOKENS + 2 * STEPS) / KV_BLOCK_SIZE);

const [model = "1b"] = Deno.args;
using folder = new ConfigFolder(model);
using gpu = openCudaDevice();
const recordings: Recording[] = [];
const device: Device = {
  ...gpu,
  record(run) {
    const recording = gpu.record(run);
    recordings.push(recording);
    return recording;
  },
};
using world = new SingleRankCommunicator();
using mesh = createDeviceMesh(world);
const maxNumSeqs = Math.max(...BATCHES);
const maxNumBatchedTokens = 4096;
using lm = loadModel({
  config: folder.config,
  weights: new DummyWeights(folder.config),
  device,
  mesh,
  format: null,
  activationDtype: device.activationDtype("bf16"),
  maxModelLen: 2048,
  maxRows: maxNumBatchedTokens,
  maxLogitRows: maxNumSeqs,
});
const { vocab, logits } = lm;
if (!vocab || !logits) throw new Error("Cannot draw as the model has no head");
using sampler = new Sampler({
  device,
  tensorParallel: mesh.tensorParallel,
  vocab,
  logits,
  maxAdjustments: vocab.vocabSize,
});
using runner = new ModelRunner({
  device,
  model: lm,
  sampler,
  drawnTokens: "slots",
  record: true,
  maxNumSeqs,
  maxNumBatchedTokens,
  maxHitBlocks: 0,
  maxModelLen: 2048,
});
runner.allocateCache(maxNumSeqs * BLOCKS);

const GREEDY = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  seedLow: 0,
  seedHigh: 0,
  choice: 0,
  logprobs: null,
};

/** Step `index` of `batch` sequences: 0 is the prompt. */
function plan(step: number, index: number, batch: number): StepPlan {
  const sequence = (slot: number): PlannedSequence => ({
    slot,
    startPosition: index === 0 ? 0 : PROMPT_TOKENS + index - 1,
    numTokens: index === 0 ? PROMPT_TOKENS : 1,
    tokens: index === 0 ? new Int32Array(PROMPT_TOKENS).fill(slot + 1) : null,
    inputStep: index === 0 ? -1 : step - 1,
    firstNewBlock: 0,
    newBlocks: index === 0
      ? Int32Array.from({ length: BLOCKS }, (_, block) => slot * BLOCKS + block)
      : [],
    sampling: GREEDY,
    adjustments: null,
    promptTargets: null,
    promptLogprobs: 0,
  });
  return { step, sequences: Array.from({ length: batch }, (_, slot) => sequence(slot)) };
}

let step = 0;
for (const batch of BATCHES) {
  const prompts = Math.floor(maxNumBatchedTokens / PROMPT_TOKENS);
  for (let first = 0; first < batch; first += prompts) {
    const { sequences } = plan(step, 0, batch);
    runner.start({ step: step++, sequences: sequences.slice(first, first + prompts) }).finish();
  }
  let index = 1;
  /** Runs decode steps with one more under way than has been read. */
  const decode = (count: number) => {
    let ahead = runner.start(plan(step++, index++, batch));
    for (let i = 1; i < count; i++) {
      const next = runner.start(plan(step++, index++, batch));
      ahead.finish();
      ahead = next;
    }
    ahead.finish();
  };
  recordings.length = 0;
  decode(8);
  const own = [...recordings];
  const start = performance.now();
  decode(STEPS);
  const stepSeconds = (performance.now() - start) / 1000 / STEPS;
  const kernelSeconds = secondsOf(device, () => own.forEach((recording) => recording.replay()));
  report({
    name: `step beside kernels ${model}, batch ${batch}`,
    value: 1e6 * (stepSeconds - kernelSeconds),
    unit: "us",
    of: "step",
    share: 1 - kernelSeconds / stepSeconds,
    details: {
      "step us": Math.round(1e6 * stepSeconds),
      "kernels us": Math.round(1e6 * kernelSeconds),
      recordings: own.length,
    },
  });
}
