/**
 * What the output head costs a decode step, measured in layers, beside what the cut of pipeline stages takes
 * it for; and the cut that the measurement would give. Takes the flags of an engine.
 *
 *     deno run -A bench/stage_costs.ts --model DIR --pipeline-parallel-size 2 --threads 1
 *
 * Times steps of a model with few layers and part of the vocabulary, with logits and without, in turns.
 */
import { engineOptions } from "../src/cli/engine_options.ts";
import { ENGINE_FLAGS } from "../src/cli/flags.ts";
import { parseFlags } from "../src/cli/parse_flags.ts";
import { median } from "../src/cli/throughput.ts";
import { createDeviceMesh } from "../src/distributed/device_mesh.ts";
import { SingleRankCommunicator } from "../src/distributed/single_rank_communicator.ts";
import { type EngineConfig, resolveEngineConfig } from "../src/engine/engine_config.ts";
import { ModelRunner } from "../src/engine/rank/model_runner.ts";
import { Sampler } from "../src/engine/sampler/sampler.ts";
import type { PlannedSampling, PlannedSequence } from "../src/engine/step_plan.ts";
import { DummyWeights } from "../src/models/dummy_weights.ts";
import { loadModel } from "../src/models/load_model.ts";
import type { ModelConfig } from "../src/models/model_config.ts";
import { balanceStages, headLayersOf, layerWeights } from "../src/models/pipeline_stages.ts";
import { KV_BLOCK_SIZE } from "../src/tensor/attention_kernels.ts";
import { openDevice } from "../src/tensor/open_device.ts";

/** Sequences of a step, the position that each computes, and steps of each kind. */
const SEQUENCES = 4, POSITION = 255, STEPS = 96;

/** Weights of the layers that are timed, and again of the head: more than caches hold. */
const SAMPLE_WEIGHTS = 16e6;

const BLOCKS = Math.ceil((POSITION + 1) / KV_BLOCK_SIZE);
const GREEDY: PlannedSampling = {
  ...{ temperature: 0, topK: 0, topP: 1, minP: 0 },
  ...{ seedLow: 0, seedHigh: 0, choice: 0, logprobs: null },
};

const { values } = parseFlags(Deno.args, { table: ENGINE_FLAGS, env: () => undefined });
if (values.model === undefined) throw new Error("Cannot measure without a model: give --model DIR");
const config = resolveEngineConfig(engineOptions(values, values.model));
const { modelConfig, pipelineLayers, pipelineParallelSize: stages } = config;
const headLayers = measureHead(config);
const cut = balanceStages({ numLayers: modelConfig.numLayers, stages, headLayers });
console.log(
  `head: ${headLayers.toFixed(1)} layers, taken for ${headLayersOf(modelConfig).toFixed(1)}; ` +
    `cut: ${cut.join(" + ")} layers, in use ${pipelineLayers.join(" + ")}`,
);

function measureHead(config: EngineConfig): number {
  const sample = sampleOf(config.modelConfig);
  using resources = new DisposableStack();
  const runner = openRunner(config, sample, resources);
  let step = 0;
  const time = (sampling: PlannedSampling | null): number => {
    const sequences = decodeStep(sampling, step === 0);
    const start = performance.now();
    runner.start({ step: step++, sequences }).finish();
    return performance.now() - start;
  };
  time(GREEDY);
  const pairs = Array.from({ length: STEPS }, () => [time(null), time(GREEDY)]);
  const layers = median(pairs.map(([without]) => without));
  const head = median(pairs.map(([without, whole]) => whole - without));
  const { vocabSize } = config.modelConfig;
  return (head * vocabSize / sample.vocabSize) / (layers / sample.numLayers);
}

function sampleOf(config: ModelConfig): ModelConfig {
  const { numLayers, vocabSize, hiddenSize } = config;
  return {
    ...config,
    numLayers: Math.min(numLayers, Math.ceil(SAMPLE_WEIGHTS / layerWeights(config))),
    vocabSize: Math.min(vocabSize, 8 * Math.ceil(SAMPLE_WEIGHTS / hiddenSize / 8)),
  };
}

function openRunner(
  options: EngineConfig,
  config: ModelConfig,
  resources: DisposableStack,
): ModelRunner {
  const { wasm, threads, format, quantization, activationDtype, kvCacheDtype } = options;
  const device = resources.use(openDevice({ kind: wasm ? "wasm" : options.device, threads }));
  const world = resources.use(new SingleRankCommunicator({ copy: device.copy }));
  const mesh = resources.use(createDeviceMesh(world));
  const numBlocks = SEQUENCES * BLOCKS;
  const maxModelLen = POSITION + 1;
  const model = resources.use(loadModel({
    ...{ config, weights: new DummyWeights(config), device, mesh },
    ...{ format, quantization, activationDtype, kvCacheDtype },
    ...{ maxModelLen, maxRows: numBlocks, maxLogitRows: SEQUENCES },
  }));
  const { tensorParallel } = mesh;
  const { vocab, logits } = model;
  if (!vocab || !logits) throw new Error("Cannot time logits as the model has none");
  const sampler = resources.use(
    new Sampler({ device, tensorParallel, vocab, logits, maxAdjustments: vocab.vocabSize }),
  );
  const runner = resources.use(
    new ModelRunner({
      ...{ device, model, sampler, drawnTokens: null, record: false, maxModelLen },
      ...{ maxNumSeqs: SEQUENCES, maxNumBatchedTokens: numBlocks, maxHitBlocks: 0 },
    }),
  );
  runner.allocateCache(numBlocks);
  return runner;
}

/** A decode step of every sequence; the first also gives each its blocks. */
function decodeStep(sampling: PlannedSampling | null, first: boolean): PlannedSequence[] {
  return Array.from({ length: SEQUENCES }, (_, slot) => ({
    ...{ slot, startPosition: POSITION, numTokens: 1, tokens: [slot], inputStep: -1 },
    ...{ firstNewBlock: 0, promptTargets: null, promptLogprobs: 0, sampling, adjustments: null },
    newBlocks: first ? Array.from({ length: BLOCKS }, (_, block) => slot * BLOCKS + block) : [],
  }));
}
