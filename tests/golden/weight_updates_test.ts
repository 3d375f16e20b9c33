/** Weights that change on every kind of rank: each version gives the tokens that it gives alone. */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import { EngineDeadError, type EngineOptions } from "../../src/engine/types.ts";
import { WeightsError } from "../../src/engine/weights.ts";
import { readSafetensorsHeader } from "../../src/models/safetensors.ts";
import { copyWeights, greedyAnswer, otherWeights } from "../weight_versions.ts";
import { goldenFolder, readGoldenCase } from "./golden_case.ts";

const model = goldenFolder("llama");
const { input_ids: promptTokenIds, greedy_ids: greedy } = readGoldenCase("llama");

async function load(options: Partial<EngineOptions> = {}): Promise<LlmEngine> {
  return await LlmEngine.load({
    model,
    device: "cpu",
    dtype: "f32",
    threads: 1,
    numKvBlocks: 32,
    maxModelLen: 128,
    weightVersion: "first",
    text: null,
    ...options,
  });
}

function ask(engine: LlmEngine, maxTokens = 8) {
  return greedyAnswer(engine, { promptTokenIds, maxTokens });
}

async function tokensOf(folder: string): Promise<readonly number[]> {
  await using engine = await load({ model: folder });
  return (await ask(engine)).tokenIds;
}

const LAYOUTS: Readonly<Record<string, Partial<EngineOptions>>> = {
  "TP 2 in threads": { tensorParallelSize: 2 },
  "PP 2 in processes": { pipelineParallelSize: 2, launcher: "process" },
  "TP 2 on WebAssembly": { tensorParallelSize: 2, device: "wasm" },
};

Deno.test("weights change beside each other and in place, on every kind of rank", async (test) => {
  using other = otherWeights(model);
  const [first, second] = [greedy.slice(0, 8), await tokensOf(other.folder)];
  for (const [name, layout] of Object.entries(LAYOUTS)) {
    await test.step(name, async () => {
      await using engine = await load(layout);
      const long = ask(engine, 80);
      await engine.prepareWeights({ model: other.folder, version: "second" });
      const answered = Promise.all([ask(engine), ask(engine)]);
      do await new Promise((resolve) => setTimeout(resolve, 1)); while (engine.stats.running < 1);
      engine.activateWeights();
      assertEquals((await ask(engine)).tokenIds, second);
      for (const { tokenIds, versions } of [await long, ...await answered]) {
        assertEquals([tokenIds.slice(0, 8), versions], [first, ["first"]]);
      }
      engine.revertWeights();
      assertEquals((await ask(engine)).tokenIds, first);
      await engine.releaseWeights();
      await engine.updateWeights({ model: other.folder, version: "second" });
      const { tokenIds, versions } = await ask(engine);
      assertEquals([tokenIds, versions], [second, ["second"]]);
    });
  }
});

Deno.test("a killed rank of prepared weights costs only those; one of the current ones the engine", async () => {
  using other = otherWeights(model);
  await using engine = await load({ launcher: "process" });
  const [serving] = engine.pids;
  await engine.prepareWeights({ model: other.folder });
  const [unused] = engine.pids.filter((pid) => pid !== serving);
  Deno.kill(unused, "SIGKILL");
  while (engine.weights.prepared !== null) await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals((await ask(engine)).versions, ["first"]);
  assertEquals(engine.failure, null);

  const preparing = assertRejects(
    () => engine.prepareWeights({ model: other.folder }),
    WeightsError,
  );
  Deno.kill(serving, "SIGKILL");
  await assertRejects(() => ask(engine, 100), EngineDeadError);
  assertMatch((await preparing).message, /start another/);
});

Deno.test("weights that pass every check and yet do not load are given up for the old ones", async () => {
  const gptq = goldenFolder("llama-gptq");
  using bad = copyWeights(gptq);
  damageGroups(`${bad.folder}/model.safetensors`);
  await using engine = await load({ model: gptq });
  const before = (await ask(engine)).tokenIds;
  const waiting = Promise.all([ask(engine), ask(engine)]);
  for (const verb of ["prepareWeights", "updateWeights"] as const) {
    const error = await assertRejects(() => engine[verb]({ model: bad.folder }), WeightsError);
    assertEquals((error as WeightsError).reason, "failed");
    assertMatch(error.message, /g_idx/);
    const { tokenIds, versions } = await ask(engine);
    assertEquals([tokenIds, versions], [before, ["first"]]);
  }
  for (const { tokenIds } of await waiting) assertEquals(tokenIds, before);
});

/** Assigns inputs to a group that there is not: found when the layer is read. */
function damageGroups(file: string): void {
  const bytes = Deno.readFileSync(file);
  const { tensors } = readSafetensorsHeader(file);
  const groups = [...tensors.values()].find(({ name }) => name.endsWith(".g_idx"))!;
  bytes.fill(0x7f, groups.byteOffset, groups.byteOffset + 4);
  Deno.writeFileSync(file, bytes);
}
