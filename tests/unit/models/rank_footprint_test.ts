import { assert, assertEquals, assertThrows } from "@std/assert";
import { type ModelConfig, parseModelConfig } from "../../../src/models/model_config.ts";
import { parameterCount } from "../../../src/models/parameter_shapes.ts";
import { presetConfig } from "../../../src/models/presets.ts";
import { kvBytesPerBlock, rankFootprints } from "../../../src/models/rank_footprint.ts";
import type { KvDType, WeightDType } from "../../../src/tensor/dtype.ts";

function config(preset: string, changes: Record<string, boolean> = {}): ModelConfig {
  return parseModelConfig({ ...presetConfig(preset), ...changes }, { source: preset });
}

function footprints(model: ModelConfig, layout: { tp?: number; pp?: number }, options: {
  format?: WeightDType;
  stored?: WeightDType;
  device?: "cpu" | "cuda";
  activationDtype?: WeightDType;
  kvCacheDtype?: KvDType;
  maxRows?: number;
  maxLogitRows?: number;
  quantization?: "int8" | "int4";
  quantized?: boolean;
} = {}) {
  return rankFootprints(model, {
    tensorParallelSize: layout.tp ?? 1,
    pipelineParallelSize: layout.pp ?? 1,
    device: options.device ?? "cpu",
    format: options.format ?? null,
    activationDtype: options.activationDtype ?? "f32",
    kvCacheDtype: options.kvCacheDtype,
    maxRows: options.maxRows ?? 1,
    maxLogitRows: options.maxLogitRows ?? 1,
    quantization: options.quantization,
    stored: {
      dtypeOf: () => options.stored ?? "f32",
      isQuantized: () => options.quantized ?? false,
    },
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

Deno.test("a tied table lies once on the CPU in bf16, twice where it is quantised for products", () => {
  const model = config("tiny", { tie_word_embeddings: true });
  const norms = (2 * model.numLayers + 1) * model.hiddenSize;
  const once = 2 * (parameterCount(model) - norms) + 4 * norms;
  const bytes = (tied: boolean, quantization?: "int8") => {
    const stored = { ...model, tieWordEmbeddings: tied };
    return footprints(stored, {}, { stored: "bf16", format: "bf16", quantization })[0].weightBytes;
  };
  assertEquals(bytes(true), once);
  assertEquals(bytes(true, "int8"), bytes(false, "int8"));
});

Deno.test("on a GPU weights are kept in the format that is multiplied", () => {
  const model = config("tiny");
  const norms = (2 * model.numLayers + 1) * model.hiddenSize;
  const matrices = parameterCount(model) - norms;
  const bytes = (stored: WeightDType, format: WeightDType) =>
    footprints(model, {}, { stored, format, device: "cuda" })[0].weightBytes;
  assertEquals(bytes("bf16", "f32"), 4 * (matrices + norms));
  assertEquals(bytes("f32", "bf16"), 2 * matrices + 4 * norms);
});

Deno.test("caches grow with the heads that ranks share, and shrink with the type", () => {
  const model = config("tiny");
  const { numLayers, numHeads, numKvHeads, headDim } = model;
  // A CPU keeps heads in whole vectors.
  const padded = Math.ceil(headDim / 16) * 16;
  for (const tp of [1, 4, 8]) {
    const heads = Math.min(numHeads, tp * Math.ceil(numKvHeads / tp));
    const vectors = 2 * 16 * numLayers * heads;
    for (const pp of [1, 2]) {
      const bytes = (options: Parameters<typeof footprints>[2]) =>
        kvBytesPerBlock(footprints(model, { tp, pp }, options));
      assertEquals(bytes({}), 4 * vectors * padded);
      assertEquals(bytes({ kvCacheDtype: "bf16" }), 2 * vectors * padded);
      // Each key and value has a scale.
      assertEquals(bytes({ kvCacheDtype: "int8" }), vectors * (padded + 4));
      assertEquals(bytes({ device: "cuda", activationDtype: "bf16" }), 2 * vectors * headDim);
    }
  }
});

Deno.test("buffers grow with the rows of a step and of logits", () => {
  const model = config("tiny");
  const bytes = (maxRows: number, maxLogitRows: number) =>
    footprints(model, {}, { maxRows, maxLogitRows })[0].bufferBytes;
  assert(bytes(2, 1) - bytes(1, 1) >= 4 * 3 * model.hiddenSize);
  assertEquals(bytes(9, 1) - bytes(1, 1), 8 * (bytes(2, 1) - bytes(1, 1)));
  assertEquals(bytes(1, 2) - bytes(1, 1), 4 * (model.vocabSize + 2 * model.hiddenSize));
});

Deno.test("a layout that does not fit is refused", () => {
  assertThrows(() => footprints(config("tiny"), { tp: 3 }), RangeError, "sizes that work");
  assertThrows(() => footprints(config("tiny"), { pp: 5 }), RangeError, "pipeline stages");
});

Deno.test("quantised while loading, layers take their bits and scales, and the head 8 bits", () => {
  const model = config("tiny");
  const norms = (2 * model.numLayers + 1) * model.hiddenSize;
  const table = model.vocabSize * model.hiddenSize;
  const layers = parameterCount(model) - norms - 2 * table;
  for (const [quantization, each] of [["int8", 1 + 4 / 256], ["int4", 0.5 + 3 / 32]] as const) {
    const [{ weightBytes }] = footprints(model, {}, { quantization });
    assertEquals(weightBytes, 4 * (norms + table) + table * (1 + 4 / 256) + layers * each);
  }
});

Deno.test("ranks divide the integers of a quantised checkpoint", () => {
  const quantization_config = { quant_method: "awq", bits: 4, group_size: 32 };
  const model = parseModelConfig({ ...presetConfig("tiny"), quantization_config }, { source: "" });
  const norms = (2 * model.numLayers + 1) * model.hiddenSize;
  for (const tp of [1, 2, 4]) {
    const ranks = footprints(model, { tp }, { quantized: true });
    const bytes = sum(ranks.map(({ weightBytes }) => weightBytes));
    const table = model.vocabSize * model.hiddenSize;
    const integers = (parameterCount(model) - norms - table) * (0.5 + 5 / 32);
    assertEquals(bytes, 4 * (table + tp * norms) + integers);
  }
});
