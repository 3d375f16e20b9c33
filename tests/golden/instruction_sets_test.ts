/** A model on every instruction set of this machine that is not its best: right against the reference. */
import { assert, assertEquals } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import { instructionSetsOf } from "../../src/native/instruction_set.ts";
import { readProcessor } from "../../src/native/processor.ts";
import { type Answer, answer, assertGolden, goldenFolder, readGoldenCase } from "./golden_case.ts";

const VARIABLE = "WEFT_CPU_ISA";

/** What the ranks of an engine answer whose kernels are of the set; they and their threads inherit it. */
async function answerOn(
  set: string,
  options: Parameters<typeof LlmEngine.load>[0],
): Promise<Answer> {
  const before = Deno.env.get(VARIABLE);
  Deno.env.set(VARIABLE, set);
  try {
    await using engine = await LlmEngine.load(options);
    const { instructionSet, instructionSetChoice } = engine.info.backend;
    assert(String(instructionSet).split("+")[0] === set, `${instructionSet} instead of ${set}`);
    assertEquals(instructionSetChoice, "WEFT_CPU_ISA names it");
    return await answer(engine, readGoldenCase("llama"));
  } finally {
    if (before === undefined) Deno.env.delete(VARIABLE);
    else Deno.env.set(VARIABLE, before);
  }
}

for (const set of instructionSetsOf(readProcessor()).slice(1)) {
  Deno.test(`golden: llama on ${set}, alone and on two ranks`, async () => {
    const options = {
      model: goldenFolder("llama"),
      dtype: "f32",
      device: "cpu",
      numKvBlocks: 32,
      threads: 1,
    } as const;
    const single = await answerOn(set, options);
    assertGolden(single, readGoldenCase("llama"));
    const ranks = { ...options, tensorParallelSize: 2, launcher: "process" } as const;
    assertEquals(await answerOn(set, ranks), single);
  });
}
