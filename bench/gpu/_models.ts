import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { EngineOptions } from "../../src/engine/types.ts";
import { type ModelConfig, readModelConfig } from "../../src/models/model_config.ts";
import { parameterShapes } from "../../src/models/parameter_shapes.ts";
import { presetConfig, type PresetName } from "../../src/models/presets.ts";

/** Models by the names that parts carry. */
export const MODELS: Readonly<Record<string, PresetName>> = {
  "1b": "llama-3.2-1b",
  "8b": "llama-3.1-8b",
};

/** A folder that holds a config.json and nothing else; removed when disposed. */
export class ConfigFolder implements Disposable {
  /** Its path. */
  readonly path: string;
  /** The model. */
  readonly config: ModelConfig;

  /** The model that is called `name` in {@linkcode MODELS}, in bf16. */
  constructor(name: string) {
    const preset = MODELS[name];
    if (!preset) throw new Error(`Cannot find a model for ${name}: ${Object.keys(MODELS)}`);
    this.path = Deno.makeTempDirSync();
    const config = { ...presetConfig(preset), torch_dtype: "bfloat16" };
    Deno.writeTextFileSync(`${this.path}/config.json`, JSON.stringify(config));
    this.config = readModelConfig(this.path);
  }

  /** An engine with random weights on the GPU. */
  load(options: Partial<EngineOptions>): Promise<LlmEngine> {
    return LlmEngine.load({
      model: this.path,
      device: "cuda",
      loadFormat: "dummy",
      ...options,
    });
  }

  /** Removes the folder. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** Parameters that each token is multiplied with: all but the embedding's table, the head's included. */
export function multipliedParameters(config: ModelConfig): number {
  let count = 0;
  for (const { name, shape } of parameterShapes(config)) {
    if (name.includes("embed_tokens") && !config.tieWordEmbeddings) continue;
    count += shape.reduce((product, size) => product * size, 1);
  }
  return count;
}

/** Floating-point operations of a causal prompt of `tokens`; the head sees its last token only. */
export function prefillFlops(config: ModelConfig, tokens: number): number {
  const head = config.vocabSize * config.hiddenSize;
  const products = 2 * (multipliedParameters(config) - head) * tokens + 2 * head;
  // Scores and sums: two products of half a square each.
  const attention = 2 * config.numLayers * config.numHeads * config.headDim * tokens ** 2;
  return products + attention;
}
