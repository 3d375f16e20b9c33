import { assertEquals } from "@std/assert";
import { storedWeights } from "../../../src/cli/stored_weights.ts";
import { resolveEngineConfig } from "../../../src/engine/engine_config.ts";
import { LlmEngine } from "../../../src/engine/llm_engine.ts";
import { initCheckpoint } from "../../../src/models/init_checkpoint.ts";
import { presetConfig } from "../../../src/models/presets.ts";

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await run(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a model with dummy weights runs from its config.json alone, in any layout", () =>
  withFolder(async (folder) => {
    Deno.writeTextFileSync(`${folder}/config.json`, JSON.stringify(presetConfig("tiny")));
    const outputs: number[][] = [];
    for (const tensorParallelSize of [1, 2]) {
      await using engine = await LlmEngine.load({
        model: folder,
        device: "cpu",
        loadFormat: "dummy",
        tensorParallelSize,
        threads: 1,
        maxModelLen: 64,
      });
      const tokens: number[] = [];
      const sampling = { temperature: 0, ignoreEos: true, maxTokens: 8 };
      for await (const chunk of engine.generate({ promptTokenIds: [1, 2, 3], sampling })) {
        tokens.push(...chunk.tokenIds);
      }
      outputs.push(tokens);
    }
    assertEquals(outputs[0].length, 8);
    assertEquals(outputs[1], outputs[0]);
  }));

Deno.test("dummy weights count as many bytes as a checkpoint of the same config", () =>
  withFolder((folder) => {
    initCheckpoint({ config: presetConfig("tiny"), seed: 1n, dtype: "bf16", out: folder });
    const [filed, dummy] = (["safetensors", "dummy"] as const).map((loadFormat) =>
      storedWeights(resolveEngineConfig({ model: folder, loadFormat, maxModelLen: 64 }))
        .sort((a, b) => a.name < b.name ? -1 : 1)
    );
    assertEquals(dummy, filed);
    return Promise.resolve();
  }));
