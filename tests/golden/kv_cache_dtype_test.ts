/** Keys and values of each narrow type: how far answers move, and the same bits on every layout. */
import { assertEquals } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { EngineOptions } from "../../src/engine/types.ts";
import { answer, assertGolden, goldenFolder, readGoldenCase } from "./golden_case.ts";

/** Largest differences of log-probabilities over these families were 4.3e-2 and 7.3e-2. */
const TOLERANCES = { bf16: 5e-2, int8: 9e-2 } as const;

const LAYOUTS: Partial<EngineOptions>[] = [
  { threads: 3, maxNumBatchedTokens: 7 },
  { tensorParallelSize: 2, pipelineParallelSize: 2 },
];

for (const family of ["llama", "qwen3"]) {
  for (const kvCacheDtype of ["bf16", "int8"] as const) {
    Deno.test(`golden: ${family} with a cache of ${kvCacheDtype}`, async () => {
      const golden = readGoldenCase(family);
      const run = async (options: Partial<EngineOptions>) => {
        await using engine = await LlmEngine.load({
          model: goldenFolder(family),
          dtype: "f32",
          kvCacheDtype,
          device: "cpu",
          numKvBlocks: 32,
          threads: 1,
          ...options,
        });
        return await answer(engine, golden, { maxTokens: 8 });
      };
      const single = await run({});
      assertGolden(single, golden, { tolerance: TOLERANCES[kvCacheDtype] });
      for (const layout of LAYOUTS) assertEquals(await run(layout), single);
    });
  }
}
