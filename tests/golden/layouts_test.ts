/** Every model family on every layout: right against the reference, and the same bits everywhere. */
import { assertEquals } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import {
  type Answer,
  answer,
  assertGolden,
  FAMILIES,
  goldenFolder,
  readGoldenCase,
} from "./golden_case.ts";

interface Layout {
  readonly name: string;
  readonly replicas?: number;
  readonly options: {
    readonly tensorParallelSize?: number;
    readonly pipelineParallelSize?: number;
    readonly pipelineLayers?: readonly number[];
    readonly launcher?: "thread" | "process";
    readonly threads?: number;
  };
}

const LAYOUTS: Layout[] = [
  { name: "TP 2", options: { tensorParallelSize: 2 } },
  { name: "TP 4", options: { tensorParallelSize: 4 } },
  { name: "TP 8", options: { tensorParallelSize: 8 } },
  { name: "PP 2", options: { pipelineParallelSize: 2 } },
  { name: "PP 4", options: { pipelineParallelSize: 4 } },
  { name: "TP 2 x PP 2", options: { tensorParallelSize: 2, pipelineParallelSize: 2 } },
  { name: "DP 2 x TP 2", replicas: 2, options: { tensorParallelSize: 2 } },
  { name: "TP 2 processes", options: { tensorParallelSize: 2, launcher: "process" } },
  {
    name: "PP 2 processes, cut late",
    options: { pipelineParallelSize: 2, pipelineLayers: [3, 1], launcher: "process" },
  },
  {
    name: "TP 2 x PP 2 processes",
    options: { tensorParallelSize: 2, pipelineParallelSize: 2, launcher: "process" },
  },
];

for (const family of FAMILIES) {
  Deno.test(`golden: ${family}`, async (test) => {
    const golden = readGoldenCase(family);
    const run = async (options: Layout["options"]): Promise<Answer> => {
      await using engine = await LlmEngine.load({
        model: goldenFolder(family),
        dtype: "f32",
        device: "cpu",
        numKvBlocks: 32,
        threads: 1,
        ...options,
      });
      return await answer(engine, golden);
    };
    const single = await run({});
    assertGolden(single, golden);
    await test.step("3 threads", async () => assertEquals(await run({ threads: 3 }), single));
    for (const layout of LAYOUTS) {
      await test.step(layout.name, async () => {
        const runs = Array.from({ length: layout.replicas ?? 1 }, () => run(layout.options));
        for (const other of await Promise.all(runs)) assertEquals(other, single);
      });
    }
  });
}
