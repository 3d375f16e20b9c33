import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { resolveEngineConfig } from "../../../src/engine/engine_config.ts";
import { LlmEngine } from "../../../src/engine/llm_engine.ts";
import { ModelLoadError } from "../../../src/models/errors.ts";
import { CapacityError } from "../../../src/tensor/errors.ts";

const model = new URL("../../fixtures/golden/llama", import.meta.url).pathname;

Deno.test("a step is never planned larger than what fits its sequences", () => {
  const config = resolveEngineConfig({
    model,
    maxModelLen: 32,
    maxNumSeqs: 3,
    maxNumBatchedTokens: 2 ** 31 - 1,
  });
  assertEquals(config.maxNumBatchedTokens, 96);
});

Deno.test("sequences follow the size of a step unless both are given", () => {
  assertEquals(resolveEngineConfig({ model, maxNumBatchedTokens: 5 }).maxNumSeqs, 5);
  assertThrows(
    () => resolveEngineConfig({ model, maxNumBatchedTokens: 5, maxNumSeqs: 6 }),
    RangeError,
    "maxNumBatchedTokens must be at least maxNumSeqs",
  );
});

Deno.test("a KV cache beyond the machine's memory is refused before anything starts", async () => {
  const error = await assertRejects(
    () => LlmEngine.load({ model, numKvBlocks: 2 ** 31 - 1 }),
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
      () => LlmEngine.load({ model: folder, onProgress }),
      ModelLoadError,
      'the key "temperature" is not a number',
    );
    assertEquals(started, false);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
