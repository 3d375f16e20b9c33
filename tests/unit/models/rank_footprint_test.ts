import { assertEquals, assertThrows } from "@std/assert";
import { kvBlockBytes } from "../../../src/engine/engine_config.ts";
import { type ModelConfig, parseModelConfig } from "../../../src/models/model_config.ts";
import { parameterCount } from "../../../src/models/parameter_shapes.ts";
import { presetConfig } from "../../../src/models/presets.ts";
import { rankFootprints } from "../../../src/models/rank_footprint.ts";
import type { WeightDType } from "../../../src/tensor/dtype.ts";

function config(preset: string, changes: Record<string, boolean> = {}): ModelConfig {
  return parseModelConfig({ ...presetConfig(preset), ...changes }, { source: preset });
}

function footprints(model: ModelConfig, layout: { tp?: number; pp?: number }, options: {
  format?: WeightDType;
  stored?: WeightDType;
} = {}) {
  return rankFootprints(model, {
    tensorParallelSize: layout.tp ?? 1,
    pipelineParallelSize: layout.pp ?? 1,
    format: options.format ?? null,
    storedDtype: () => options.stored ?? "f32",
  });
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

Deno.test("one rank reads every parameter once", () => {
  for (const preset of ["tiny", "mixtral-tiny", "gpt2", "qwen3-0.6b", "smollm-135m"]) {
    const model = config(preset);
    const [{ weightBytes }] = footprints(model, {});
    assertEquals(weightBytes, 4 * parameterCount(model), preset);
  }
});

Deno.test("pipeline stages divide the layers, and the parameters of an untied model", () => {
  const model = config("tiny");
  const stages = footprints(model, { pp: 4 });
  assertEquals(stages.map(({ firstLayer, endLayer }) => [firstLayer, endLayer]), [
    [0, 1],
    [1, 2],
    [2, 3],
    [3, 4],
  ]);
  assertEquals(sum(stages.map(({ weightBytes }) => weightBytes)), 4 * parameterCount(model));
});

Deno.test("a tied head costs its stage a copy of the table", () => {
  const tied = config("tiny", { tie_word_embeddings: true });
  const bytes = sum(footprints(tied, { pp: 2 }).map(({ weightBytes }) => weightBytes));
  assertEquals(bytes, 4 * (parameterCount(tied) + tied.vocabSize * tied.hiddenSize));
});

Deno.test("tensor-parallel ranks divide the matrices and repeat the norms", () => {
  const model = config("tiny");
  const norms = (2 * model.numLayers + 1) * model.hiddenSize;
  const ranks = footprints(model, { tp: 4 });
  assertEquals(ranks.map(({ tensorRank }) => tensorRank), [0, 1, 2, 3]);
  const bytes = sum(ranks.map(({ weightBytes }) => weightBytes));
  assertEquals(bytes, 4 * (parameterCount(model) + 3 * norms));
});

Deno.test("narrow weights stay narrow in memory, and a narrower format makes them so", () => {
  const model = config("tiny");
  const norms = (2 * model.numLayers + 1) * model.hiddenSize;
  const narrow = 2 * (parameterCount(model) - norms) + 4 * norms;
  const bytes = (stored: WeightDType, format: WeightDType) =>
    footprints(model, {}, { stored, format })[0].weightBytes;
  assertEquals([bytes("bf16", "f32"), bytes("f32", "bf16")], [narrow, narrow]);
});

Deno.test("the ranks' caches are those that the engine counts, repeated heads included", () => {
  const model = config("tiny");
  for (const tp of [1, 4, 8]) {
    const bytes = sum(footprints(model, { tp, pp: 2 }).map((rank) => rank.kvBytesPerToken));
    assertEquals(bytes, kvBlockBytes(model, { tensorParallelSize: tp }) / 16);
  }
});

Deno.test("a layout that does not fit is refused", () => {
  assertThrows(() => footprints(config("tiny"), { tp: 3 }), RangeError, "sizes that work");
  assertThrows(() => footprints(config("tiny"), { pp: 5 }), RangeError, "pipeline stages");
});
