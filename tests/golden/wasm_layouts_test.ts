/** The WebAssembly kernels: the native kernels' bits, on every layout. */
import { assertEquals } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { EngineOptions } from "../../src/engine/types.ts";
import {
  type Answer,
  answer,
  assertGolden,
  FAMILIES,
  goldenFolder,
  readGoldenCase,
} from "./golden_case.ts";

const NEW_TOKENS = 6;

async function ask(family: string, options: Partial<EngineOptions>): Promise<Answer> {
  await using engine = await LlmEngine.load({
    model: goldenFolder(family),
    device: "wasm",
    dtype: "f32",
    numKvBlocks: 32,
    threads: 1,
    text: null,
    ...options,
  });
  return await answer(engine, readGoldenCase(family), { maxTokens: NEW_TOKENS });
}

for (const family of FAMILIES) {
  Deno.test(`wasm, golden: ${family}`, async () => {
    const alone = await ask(family, {});
    assertGolden(alone, readGoldenCase(family));
    assertEquals(alone, await ask(family, { device: "cpu" }));
  });
}

const LAYOUTS: Readonly<Record<string, Partial<EngineOptions>>> = {
  "3 threads": { threads: 3 },
  "TP 2": { tensorParallelSize: 2 },
  "TP 4": { tensorParallelSize: 4 },
  "PP 2": { pipelineParallelSize: 2 },
  "TP 2 x PP 2": { tensorParallelSize: 2, pipelineParallelSize: 2, threads: 2 },
};

for (const family of ["qwen3", "mixtral"]) {
  Deno.test(`wasm, layouts: ${family}`, async (test) => {
    const alone = await ask(family, {});
    for (const [name, layout] of Object.entries(LAYOUTS)) {
      await test.step(name, async () => assertEquals(await ask(family, layout), alone));
    }
  });
}

const FORMATS: Readonly<Record<string, Partial<EngineOptions>>> = {
  bf16: { dtype: "bf16" },
  int8: { dtype: "auto", quantization: "int8" },
  int4: { dtype: "auto", quantization: "int4" },
};

for (const [name, format] of Object.entries(FORMATS)) {
  Deno.test(`wasm, ${name}: the same bits on two ranks`, async () => {
    const alone = await ask("qwen3", format);
    assertEquals(await ask("qwen3", { ...format, tensorParallelSize: 2 }), alone);
  });
}

for (const family of ["llama-awq", "llama-gptq"]) {
  Deno.test(`wasm, golden: ${family}`, async () => {
    const alone = await ask(family, {});
    assertGolden(alone, readGoldenCase(family), { tolerance: 1e-4 });
    assertEquals(await ask(family, { tensorParallelSize: 2 }), alone);
    assertEquals(alone, await ask(family, { device: "cpu" }));
  });
}
