/** bf16 on the CPU: how far from the references it is, and that its bits depend on no layout. */
import { assert, assertEquals } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import {
  type Answer,
  answer,
  assertAlike,
  FAMILIES,
  goldenFolder,
  goldenLogprobs,
  readGoldenCase,
} from "./golden_case.ts";

/** Differences of log-probabilities that docs/NUMERICS.md states: in the mean, and the largest. */
const ERROR = { mean: 2e-2, tolerance: 8e-2 };

/** Greedy tokens that win by more than this are the same. */
const MARGIN = 0.05;

async function run(
  family: string,
  options: { readonly tensorParallelSize?: number; readonly pipelineParallelSize?: number } = {},
): Promise<Answer> {
  await using engine = await LlmEngine.load({
    model: goldenFolder(family),
    dtype: "bf16",
    device: "cpu",
    numKvBlocks: 32,
    threads: 1,
    ...options,
  });
  return await answer(engine, readGoldenCase(family));
}

for (const family of FAMILIES) {
  Deno.test(`bf16 on the CPU: ${family}`, async (test) => {
    const golden = readGoldenCase(family);
    const single = await run(family);
    assertAlike(single, goldenLogprobs(golden), ERROR);
    const close = golden.greedy_margins.findIndex((margin) => margin <= MARGIN);
    const certain = close < 0 ? golden.greedy_ids.length : close;
    assert(certain > 0);
    assertEquals(single.greedy.slice(0, certain), golden.greedy_ids.slice(0, certain));
    await test.step("TP 2", async () => {
      assertEquals(await run(family, { tensorParallelSize: 2 }), single);
    });
    await test.step("TP 2 x PP 2", async () => {
      const layout = { tensorParallelSize: 2, pipelineParallelSize: 2 };
      assertEquals(await run(family, layout), single);
    });
  });
}
