/**
 * Every model family on GPUs in every kind of layout, against the reference; on emulated GPUs where there
 * are none. There fewer tokens are generated and one family draws, as the emulator takes a second for what a
 * GPU does in one millisecond, and no reference says what is drawn.
 */
import { assertEquals } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { EngineOptions } from "../../src/engine/types.ts";
import { gpuCount, onEmulator } from "../gpu/_device.ts";
import {
  type Answer,
  answer,
  assertGolden,
  FAMILIES,
  goldenFolder,
  readGoldenCase,
} from "./golden_case.ts";

const LAYOUTS: readonly (Partial<EngineOptions> & { readonly name: string })[] = [
  { name: "one GPU", launcher: "thread" },
  { name: "TP 2", tensorParallelSize: 2 },
  { name: "PP 2", pipelineParallelSize: 2 },
  { name: "TP 2 x PP 2", tensorParallelSize: 2, pipelineParallelSize: 2 },
];

const gpus = await gpuCount();

async function run(family: string, options: Partial<EngineOptions>): Promise<Answer> {
  await using engine = await LlmEngine.load({
    model: goldenFolder(family),
    device: "cuda",
    dtype: "f32",
    numKvBlocks: 32,
    maxNumSeqs: 2,
    maxNumBatchedTokens: 16,
    ...options,
  });
  assertEquals(engine.info.backend.device, "cuda");
  const shorter = { maxTokens: 3, draw: family === FAMILIES[0] };
  return await answer(engine, readGoldenCase(family), onEmulator ? shorter : {});
}

for (const { name, ...options } of LAYOUTS) {
  const { tensorParallelSize = 1, pipelineParallelSize = 1 } = options;
  Deno.test({
    name: `golden on GPUs: ${name}`,
    ignore: gpus < tensorParallelSize * pipelineParallelSize,
    async fn(test) {
      for (const family of FAMILIES) {
        await test.step(family, async () => {
          assertGolden(await run(family, options), readGoldenCase(family), { tolerance: 1e-4 });
        });
      }
    },
  });
}

Deno.test({
  name: "golden on GPUs: recorded decode steps give the bits of eager ones",
  ignore: gpus < 1,
  async fn() {
    const eager = await run("llama", { launcher: "thread", enforceEager: true });
    assertEquals(await run("llama", { launcher: "thread" }), eager);
  },
});

// Activations are rounded to the type, so errors are some units of its last place: 2^-8 and 2^-11.
for (
  const [family, dtype, tolerance] of [["qwen2", "bf16", 5e-2], ["gpt2", "f16", 4e-3]] as const
) {
  Deno.test({
    name: `golden on GPUs: ${dtype} comes close`,
    ignore: gpus < 1,
    async fn() {
      assertGolden(await run(family, { launcher: "thread", dtype }), readGoldenCase(family), {
        tolerance,
      });
    },
  });
}
