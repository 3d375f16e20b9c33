import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import type { DeviceChoice } from "../../../src/engine/device_choice.ts";
import { resolveEngineConfig } from "../../../src/engine/engine_config.ts";
import { engineFootprints, verifyMemory } from "../../../src/engine/engine_memory.ts";
import { LlmEngine } from "../../../src/engine/llm_engine.ts";
import { describeCut } from "../../../src/engine/pipeline_cut.ts";
import { positionsInCache } from "../../../src/engine/step_limits.ts";
import type { EngineOptions } from "../../../src/engine/types.ts";
import { ModelLoadError } from "../../../src/models/errors.ts";
import { CapacityError } from "../../../src/tensor/errors.ts";

const model = new URL("../../fixtures/golden/llama", import.meta.url).pathname;

const CPU: DeviceChoice = { kind: "cpu", wasm: false, reason: "asked for", gpus: [] };

/** GPUs of `memory` bytes each. */
function gpus(count: number, memory = 24e9): DeviceChoice {
  const gpu = { name: "Test GPU", architecture: 90, totalMemory: memory };
  return { kind: "cuda", wasm: false, reason: "asked for", gpus: new Array(count).fill(gpu) };
}

const resolve = (options: Partial<EngineOptions>, choice = CPU) =>
  resolveEngineConfig({ model, ...options }, choice);

Deno.test("a step is never planned larger than what fits its sequences", () => {
  const config = resolve({ maxModelLen: 32, maxNumSeqs: 3, maxNumBatchedTokens: 2 ** 31 - 1 });
  assertEquals(config.maxNumBatchedTokens, 96);
});

Deno.test("sequences follow the size of a step unless both are given", () => {
  assertEquals(resolve({ maxNumBatchedTokens: 5 }).maxNumSeqs, 5);
  assertThrows(
    () => resolve({ maxNumBatchedTokens: 5, maxNumSeqs: 6 }),
    RangeError,
    "maxNumBatchedTokens must be at least maxNumSeqs",
  );
});

Deno.test("layers are cut as asked for, or by cost, and so does every rank hold them", () => {
  const { numLayers } = resolve({}).modelConfig;
  const asked = resolve({ pipelineParallelSize: 2, pipelineLayers: [1, numLayers - 1] });
  const stages = engineFootprints(asked).map(({ firstLayer, endLayer }) => [firstLayer, endLayer]);
  assertEquals(stages, [[0, 1], [1, numLayers]]);
  assertEquals(describeCut(asked), `1 + ${numLayers - 1} layers, as asked for`);
  assertMatch(describeCut(resolve({ pipelineParallelSize: 2 })), /^\d \+ \d layers, by cost$/);
  assertEquals(describeCut(resolve({})), "none: one stage has all layers");
  for (
    const pipelineLayers of [[numLayers], [0, numLayers], [1, numLayers], [0.5, numLayers - 0.5]]
  ) {
    assertThrows(
      () => resolve({ pipelineParallelSize: 2, pipelineLayers }),
      RangeError,
      "must give each of 2 stages one or more",
    );
  }
});

Deno.test("a CPU keeps the checkpoint's weights and sizes its cache at once", () => {
  const { format, activationDtype, launcher, lookahead, numBlocks, maxNumSeqs } = resolve({});
  assertEquals([format, activationDtype, launcher, lookahead], [null, "f32", "thread", 1]);
  assertEquals(maxNumSeqs, 64);
  assert(numBlocks !== null && numBlocks > 0);
});

Deno.test("GPUs compute in one type, by processes, and size the cache when they have loaded", () => {
  const config = resolve({ tensorParallelSize: 2, firstGpu: 1 }, gpus(3));
  assertEquals([config.format, config.activationDtype], ["f32", "f32"]);
  assertEquals([config.launcher, config.threads, config.lookahead], ["process", 1, 2]);
  assertEquals([config.numBlocks, config.gpus.length], [null, 2]);
  assertEquals([config.maxNumSeqs, config.maxModelLen], [
    256,
    config.modelConfig.maxPositionEmbeddings,
  ]);
  assertEquals(positionsInCache(config, 3), 48);
  const narrow = resolve({ dtype: "bf16", numKvBlocks: 2 }, gpus(1));
  assertEquals([narrow.format, narrow.activationDtype], ["bf16", "bf16"]);
  assertEquals([narrow.numBlocks, narrow.maxModelLen], [2, 32]);
  // Half as wide, so the same bytes hold twice as many blocks.
  const blocks = (dtype: "f32" | "bf16") =>
    resolve({ dtype, kvCacheMemory: 2 ** 20 }, gpus(1)).numBlocks;
  assertEquals(blocks("bf16"), 2 * blocks("f32")!);
});

Deno.test("keys and values are kept as products round, or as asked", () => {
  const kept = (options: Partial<EngineOptions>, choice = CPU) =>
    resolve(options, choice).kvCacheDtype;
  assertEquals(kept({}), "f32");
  assertEquals(kept({ dtype: "bf16" }), "bf16");
  assertEquals(kept({ dtype: "f16" }), "f32");
  assertEquals(kept({ quantization: "int8" }), "bf16");
  assertEquals(kept({ quantization: "int8", dtype: "f32" }), "f32");
  assertEquals(kept({ kvCacheDtype: "int8", dtype: "f32" }), "int8");
  assertEquals(kept({ dtype: "bf16" }, gpus(1)), "bf16");
  assertEquals(kept({ dtype: "f16", kvCacheDtype: "f16" }, gpus(1)), "f16");
  assertThrows(() => kept({ kvCacheDtype: "f16" }), RangeError, "f32, bf16 or int8");
  assertThrows(
    () => kept({ kvCacheDtype: "int8", dtype: "bf16" }, gpus(1)),
    RangeError,
    "the activations' type bf16: current value is int8",
  );
  const blocks = (kvCacheDtype: "f32" | "bf16") =>
    resolve({ kvCacheDtype, kvCacheMemory: 2 ** 20 }).numBlocks;
  assertEquals(blocks("bf16"), 2 * blocks("f32")!);
});

Deno.test("options that a device has no use for are refused", () => {
  const refused = (options: Partial<EngineOptions>, choice: DeviceChoice, message: string) =>
    assertThrows(() => resolve(options, choice), RangeError, message);
  refused({ gpuMemoryUtilization: 0.5 }, CPU, "the device is the CPU: use kvCacheMemory");
  for (const gpuMemoryUtilization of [0, 1.1, NaN]) {
    refused({ gpuMemoryUtilization }, gpus(1), "must lie above 0 and go up to 1");
  }
  refused({ threads: 4 }, gpus(1), "4 threads as it computes on a GPU");
  refused({ firstGpu: -1 }, gpus(1), "an integer from 0");
  const threads = { tensorParallelSize: 2, launcher: "thread" } as const;
  refused(threads, gpus(2), "Cannot run 2 ranks as threads");
  assertEquals(resolve({ launcher: "thread" }, gpus(1)).launcher, "thread");
});

Deno.test("more ranks than GPUs are refused with what would fit", () => {
  const refused = (options: Partial<EngineOptions>, count: number, message: string) =>
    assertThrows(() => resolve(options, gpus(count)), RangeError, message);
  const layout = { tensorParallelSize: 2, pipelineParallelSize: 2 };
  refused(layout, 3, "Cannot place 4 ranks as each rank needs a GPU of its own");
  refused(
    layout,
    3,
    "this process sees 3: tensor parallel size x pipeline parallel size x replicas",
  );
  refused({ ...layout, replicasOnHost: 2 }, 7, "Cannot place 2 replicas of 4 ranks");
  refused({ tensorParallelSize: 2, firstGpu: 3 }, 4, "Cannot place 2 ranks from GPU 3 on");
  assertEquals(resolve({ ...layout, replicasOnHost: 2, firstGpu: 4 }, gpus(8)).gpus.length, 4);
});

Deno.test("a layout that GPUs cannot hold is refused with what they can", () => {
  const limits = { maxNumSeqs: 2, maxNumBatchedTokens: 32 };
  const refusal = (options: Partial<EngineOptions>, memory: number) => {
    const config = resolve({ ...limits, ...options }, gpus(4, memory));
    return assertThrows(() => verifyMemory(config), CapacityError).message;
  };
  verifyMemory(resolve(limits, gpus(1)));
  const bytes = Deno.statSync(`${model}/model.safetensors`).size;
  const message = refusal({}, bytes);
  assertStringIncludes(message, "Cannot hold the model as it needs");
  assertStringIncludes(message, "a rank at tensor parallel size 1: Test GPU has");
  assertStringIncludes(message, "of which 0.9 may be used; tensor parallel size 2 needs");
  assertStringIncludes(refusal({}, 1000), "1.0 kB, of which 0.9 may be used; no tensor parallel");
  const blocks = refusal({ numKvBlocks: 1_000_000 }, 100e6).match(/; (\d+) blocks of KV cache fit/);
  assert(blocks !== null);
  const fitting = Number(blocks[1]);
  verifyMemory(resolve({ ...limits, numKvBlocks: fitting }, gpus(1, 100e6)));
  assertStringIncludes(refusal({ numKvBlocks: fitting + 1 }, 100e6), `${fitting} blocks`);
});

Deno.test("a KV cache beyond the machine's memory is refused before anything starts", async () => {
  const error = await assertRejects(
    () => LlmEngine.load({ model, device: "cpu", numKvBlocks: 2 ** 31 - 1 }),
    CapacityError,
    "Cannot make a KV cache of 2147483647 blocks",
  );
  assertEquals((error as CapacityError).byteLength % (2 ** 31 - 1), 0);
});

Deno.test("a bad generation_config.json is refused before any rank starts", async () => {
  const folder = await Deno.makeTempDir();
  try {
    for (const file of ["config.json", "model.safetensors"]) {
      await Deno.copyFile(`${model}/${file}`, `${folder}/${file}`);
    }
    await Deno.writeTextFile(`${folder}/generation_config.json`, '{"temperature":"hot"}');
    let started = false;
    const onProgress = () => void (started = true);
    await assertRejects(
      () => LlmEngine.load({ model: folder, device: "cpu", onProgress }),
      ModelLoadError,
      'the key "temperature" is not a number',
    );
    assertEquals(started, false);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
