/** Quantised weights on GPUs, or emulated ones, against references and the CPU. */
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { EngineOptions } from "../../src/engine/types.ts";
import { gpuCount, onEmulator } from "../gpu/_device.ts";
import { writeQuantized } from "./_quantized_checkpoint.ts";
import {
  type Answer,
  answer,
  assertAlike,
  assertGolden,
  goldenFolder,
  goldenLogprobs,
  readGoldenCase,
} from "./golden_case.ts";

interface Layout extends Partial<EngineOptions> {
  readonly name: string;
  readonly families: readonly string[];
}

const LAYOUTS: readonly Layout[] = [
  { name: "one GPU", families: ["llama-awq", "llama-gptq"], launcher: "thread" },
  { name: "TP 2", families: ["llama-gptq"], tensorParallelSize: 2 },
  { name: "PP 2", families: ["llama-awq"], pipelineParallelSize: 2 },
  {
    name: "TP 2 x PP 2",
    families: ["llama-awq", "llama-gptq"],
    tensorParallelSize: 2,
    pipelineParallelSize: 2,
  },
];

const gpus = await gpuCount();

/** Answers of `model` to the case of `family`. */
async function ask(
  model: string,
  { family, ...options }: Partial<EngineOptions> & { readonly family: string },
): Promise<Answer> {
  await using engine = await LlmEngine.load({
    model,
    device: "cuda",
    numKvBlocks: 32,
    maxNumSeqs: 2,
    maxNumBatchedTokens: 16,
    text: null,
    ...options,
  });
  return await answer(
    engine,
    readGoldenCase(family),
    onEmulator ? { maxTokens: 3, draw: false } : {},
  );
}

for (const { name, families, ...layout } of LAYOUTS) {
  const { tensorParallelSize = 1, pipelineParallelSize = 1 } = layout;
  Deno.test({
    name: `golden on GPUs, quantised: ${name}`,
    ignore: gpus < tensorParallelSize * pipelineParallelSize,
    async fn(test) {
      for (const family of families) {
        await test.step(family, async () => {
          const got = await ask(goldenFolder(family), { family, dtype: "f32", ...layout });
          assertGolden(got, readGoldenCase(family), { tolerance: 1e-4 });
        });
      }
    },
  });
}

Deno.test({
  name: "golden on GPUs: quantised checkpoints come close in their own type",
  ignore: gpus < 1,
  async fn() {
    for (const [dtype, tolerance] of [["auto", 1e-2], ["bf16", 1e-1]] as const) {
      const family = "llama-awq";
      const got = await ask(goldenFolder(family), { family, dtype, launcher: "thread" });
      assertGolden(got, readGoldenCase(family), { tolerance });
    }
  },
});

Deno.test({
  name: "golden on GPUs: GPTQ with groups in any order is what the CPU makes of it, divided too",
  ignore: gpus < 2,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const [quantized, dequantized] = [`${folder}/q`, `${folder}/d`];
      const family = "qwen2";
      const scheme = { method: "gptq", bits: 4, groupSize: 16, actOrder: true } as const;
      writeQuantized(goldenFolder(family), { quantized, dequantized }, scheme);
      const exact = { family, dtype: "f32" } as const;
      const want = await ask(dequantized, { ...exact, launcher: "thread" });
      const got = await ask(quantized, { ...exact, tensorParallelSize: 2 });
      assertAlike(got, want, { tolerance: 1e-4 });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

for (
  const [family, quantization, mean] of [["mixtral", "int8", 0.05], ["qwen2", "int4", 0.5]] as const
) {
  Deno.test({
    name: `golden on GPUs: ${family} quantised to ${quantization} while it is loaded`,
    ignore: gpus < 1,
    async fn() {
      const model = goldenFolder(family);
      const got = await ask(model, { family, quantization, launcher: "thread" });
      assertAlike(got, goldenLogprobs(readGoldenCase(family)), { mean });
    },
  });
}
