/** Weights that change on GPUs: both sets in the memory of one, or none. */
import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { EngineOptions } from "../../src/engine/types.ts";
import { WeightsError } from "../../src/engine/weights.ts";
import { greedyAnswer, otherWeights } from "../weight_versions.ts";
import { assertNothingLeft, gpuCount, onEmulator } from "./_device.ts";

const model = new URL("../fixtures/golden/llama", import.meta.url).pathname;
const gpus = await gpuCount();

async function load(options: Partial<EngineOptions> = {}): Promise<LlmEngine> {
  return await LlmEngine.load({
    model,
    device: "cuda",
    launcher: "thread",
    maxModelLen: 64,
    maxNumSeqs: 2,
    maxNumBatchedTokens: 16,
    weightVersion: "first",
    text: null,
    ...options,
  });
}

async function ask(engine: LlmEngine) {
  const { tokenIds, versions } = await greedyAnswer(engine, {
    promptTokenIds: [5, 6, 7],
    maxTokens: 3,
  });
  return { tokenIds, version: versions.join() };
}

Deno.test({
  name: "two sets of weights lie on a GPU beside each other, and in turn",
  ignore: gpus < 1,
  async fn() {
    using other = otherWeights(model);
    {
      await using engine = await load({ numKvBlocks: 8 });
      const first = await ask(engine);
      await engine.prepareWeights({ model: other.folder, version: "second" });
      engine.activateWeights();
      const second = await ask(engine);
      assertEquals([first.version, second.version], ["first", "second"]);
      assertNotEquals(second.tokenIds, first.tokenIds);
      engine.revertWeights();
      assertEquals(await ask(engine), first);
      await engine.releaseWeights();
      await engine.updateWeights({ model: other.folder, version: "second" });
      assertEquals(await ask(engine), second);
    }
    await assertNothingLeft();
  },
});

Deno.test({
  name: "weights for which a GPU has no room beside the others are refused, and change in place",
  ignore: !onEmulator,
  async fn() {
    using other = otherWeights(model);
    Deno.env.set("WEFT_EMULATED_GPU_MEMORY", String(64 << 20));
    try {
      // The products' workspace alone takes half of it.
      await using engine = await load({ enforceEager: true });
      const { kvBlocksTotal } = engine.stats;
      const error = await assertRejects(
        () => engine.prepareWeights({ model: other.folder }),
        WeightsError,
      );
      assertEquals((error as WeightsError).reason, "memory");
      assertMatch(error.message, /the GPU is out of memory/);
      await engine.updateWeights({ model: other.folder, version: "second" });
      assertEquals(engine.stats.kvBlocksTotal, kvBlocksTotal);
      assert((await ask(engine)).version === "second");
    } finally {
      Deno.env.delete("WEFT_EMULATED_GPU_MEMORY");
    }
  },
});
