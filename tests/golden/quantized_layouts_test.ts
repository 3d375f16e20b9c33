/** Quantised weights on every layout: right against a reference, and the same bits everywhere. */
import { assertEquals, assertRejects } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { EngineOptions } from "../../src/engine/types.ts";
import { type Scheme, writeQuantized } from "./_quantized_checkpoint.ts";
import {
  type Answer,
  answer,
  assertAlike,
  assertGolden,
  goldenFolder,
  goldenLogprobs,
  readGoldenCase,
} from "./golden_case.ts";

const LAYOUTS: Readonly<Record<string, Partial<EngineOptions>>> = {
  "TP 2": { tensorParallelSize: 2 },
  "TP 4": { tensorParallelSize: 4 },
  "PP 2": { pipelineParallelSize: 2 },
  "TP 2 x PP 2": { tensorParallelSize: 2, pipelineParallelSize: 2 },
};

/** Answers of `model` to the case of `family`. */
async function ask(
  model: string,
  { family, ...options }: Partial<EngineOptions> & { readonly family: string },
): Promise<Answer> {
  await using engine = await LlmEngine.load({
    model,
    device: "cpu",
    numKvBlocks: 32,
    threads: 1,
    text: null,
    ...options,
  });
  return await answer(engine, readGoldenCase(family));
}

for (const family of ["llama-awq", "llama-gptq"]) {
  const model = goldenFolder(family);
  const golden = readGoldenCase(family);

  Deno.test(`golden: ${family}`, async (test) => {
    const single = await ask(model, { family, dtype: "f32" });
    assertGolden(single, golden, { tolerance: 1e-4 });
    for (const [name, layout] of Object.entries(LAYOUTS)) {
      await test.step(name, async () => {
        assertEquals(await ask(model, { family, dtype: "f32", ...layout }), single);
      });
    }
  });

  Deno.test(`golden: ${family} with rounded activations`, async () => {
    const single = await ask(model, { family });
    assertAlike(single, goldenLogprobs(golden), { mean: 0.1 });
    assertEquals(await ask(model, { family, ...LAYOUTS["TP 2 x PP 2"] }), single);
  });
}

const MADE: Readonly<Record<string, Scheme & { readonly family: string }>> = {
  "GPTQ with groups in any order, and biases": {
    ...{ family: "qwen2", method: "gptq", bits: 4, groupSize: 16, actOrder: true },
    dense: ["v_proj"],
  },
  "GPTQ of 8 bits without zeros": {
    ...{ family: "mistral", method: "gptq", bits: 8, groupSize: -1, symmetric: true },
    withoutZeros: true,
  },
  "GPTQ of the second format, any order, 8 bits": {
    ...{ family: "gpt2", method: "gptq", bits: 8, groupSize: 32, actOrder: true },
    version2: true,
  },
  "AWQ with a short last group, layers left dense, in several files": {
    ...{ family: "llama31", method: "awq", bits: 4, groupSize: 64 },
    dense: ["layers.2.self_attn", "k_proj", "gate_proj", "layers.3.mlp.down_proj"],
    shards: 3,
  },
  "AWQ of experts": { family: "mixtral", method: "awq", bits: 4, groupSize: 32 },
  "compressed-tensors": {
    ...{ family: "qwen3", method: "compressed-tensors", bits: 8, groupSize: -1 },
  },
};

for (const [name, { family, ...scheme }] of Object.entries(MADE)) {
  Deno.test(`quantised: ${name}`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      const [quantized, dequantized] = [`${folder}/q`, `${folder}/d`];
      writeQuantized(goldenFolder(family), { quantized, dequantized }, scheme);
      const exact = { family, dtype: "f32" } as const;
      const single = await ask(quantized, exact);
      assertAlike(single, await ask(dequantized, exact), { tolerance: 1e-4 });
      assertEquals(await ask(quantized, { ...exact, ...LAYOUTS["TP 2 x PP 2"] }), single);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

for (
  const [family, quantization, mean] of [
    ["llama31", "int8", 0.1],
    ["mixtral", "int8", 0.1],
    ["qwen2", "int4", 0.5],
  ] as const
) {
  Deno.test(`quantised while loading: ${family} to ${quantization}`, async () => {
    const model = goldenFolder(family);
    const single = await ask(model, { family, quantization });
    assertAlike(single, goldenLogprobs(readGoldenCase(family)), { mean });
    assertEquals(await ask(model, { family, quantization, ...LAYOUTS["TP 4"] }), single);
    assertEquals(await ask(model, { family, quantization, ...LAYOUTS["PP 2"] }), single);
  });
}

Deno.test("what is quantised already is not quantised again", async () => {
  const model = goldenFolder("llama-awq");
  await assertRejects(
    () => ask(model, { family: "llama-awq", quantization: "int8" }),
    RangeError,
    "its weights are awq of 4 bits",
  );
});
