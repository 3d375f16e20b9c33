import { assertAlmostEquals, assertEquals } from "@std/assert";
import { bytesReadPerToken, type DecodeStep } from "../../../src/cli/decode_traffic.ts";
import type { StoredWeight } from "../../../src/cli/stored_weights.ts";
import { parseModelConfig } from "../../../src/models/model_config.ts";
import { parameterShapes } from "../../../src/models/parameter_shapes.ts";
import { presetConfig } from "../../../src/models/presets.ts";

const KV_BYTES = 96;
const STEP: DecodeStep = {
  batch: 1,
  context: 0,
  kvBytesPerToken: KV_BYTES,
  device: "cpu",
  format: null,
};

/** A model of a preset and its weights as bf16. */
function stored(preset: string, changes: Record<string, boolean> = {}) {
  const config = parseModelConfig({ ...presetConfig(preset), ...changes }, { source: preset });
  const weights = parameterShapes(config).map(({ name, shape, layer }): StoredWeight => {
    const elements = shape.reduce((product, size) => product * size, 1);
    return { name, dtype: "BF16", isLinear: layer !== null, elements, bytes: 2 * elements };
  });
  const bytes = weights.reduce((sum, weight) => sum + weight.bytes, 0);
  return { config, weights, bytes };
}

Deno.test("a tied model reads all its weights, an untied one not its embedding", () => {
  const tied = stored("tiny", { tie_word_embeddings: true });
  assertEquals(bytesReadPerToken(tied.config, tied.weights, STEP), tied.bytes);
  const untied = stored("tiny");
  const table = 2 * untied.config.vocabSize * untied.config.hiddenSize;
  assertEquals(bytesReadPerToken(untied.config, untied.weights, STEP), untied.bytes - table);
});

Deno.test("GPT-2's position table is not streamed", () => {
  const { config, weights, bytes } = stored("gpt2");
  const table = 2 * config.maxPositionEmbeddings * config.hiddenSize;
  assertEquals(bytesReadPerToken(config, weights, STEP), bytes - table);
});

Deno.test("a batch shares the weights but not the cache", () => {
  const { config, weights } = stored("tiny");
  const alone = bytesReadPerToken(config, weights, { ...STEP, context: 100 });
  const together = bytesReadPerToken(config, weights, { ...STEP, context: 100, batch: 4 });
  const weightBytes = bytesReadPerToken(config, weights, STEP);
  assertAlmostEquals(alone, weightBytes + 100 * KV_BYTES);
  assertAlmostEquals(together, weightBytes / 4 + 100 * KV_BYTES);
});

Deno.test("a wider format is made in registers, a narrower one halves the bytes", () => {
  const { config, weights, bytes } = stored("tiny", { tie_word_embeddings: true });
  assertEquals(bytesReadPerToken(config, weights, { ...STEP, format: "f32" }), bytes);
  const wide = weights.map((weight) => ({ ...weight, bytes: 2 * weight.bytes }));
  assertEquals(bytesReadPerToken(config, wide, { ...STEP, format: "f16" }), bytes);
});

Deno.test("a GPU reads the format that it multiplies", () => {
  const { config, weights, bytes } = stored("tiny", { tie_word_embeddings: true });
  const step = { ...STEP, device: "cuda" } as const;
  assertEquals(bytesReadPerToken(config, weights, { ...step, format: "f32" }), 2 * bytes);
  assertEquals(bytesReadPerToken(config, weights, { ...step, format: "bf16" }), bytes);
});

Deno.test("a mixture reads the experts that the batch can visit, never more than there are", () => {
  const { config, weights } = stored("mixtral-tiny");
  const experts = weights.filter(({ name }) => name.includes(".experts."))
    .reduce((sum, weight) => sum + weight.bytes, 0);
  const step = (batch: number) => batch * bytesReadPerToken(config, weights, { ...STEP, batch });
  assertAlmostEquals(step(2) - step(1), experts * 2 / 8, 1e-3);
  assertAlmostEquals(step(8) - step(4), 0, 1e-3);
});

Deno.test("quantised while loading, layers take their bits and scales, and the head 8 bits", () => {
  const { config, weights } = stored("tiny");
  const elements = (picked: StoredWeight[]) => picked.reduce((sum, w) => sum + w.elements, 0);
  const head = elements(weights.filter(({ name }) => name === "lm_head.weight"));
  const layers = elements(weights.filter(({ isLinear }) => isLinear)) - head;
  const norms = elements(weights.filter(({ name }) => name.endsWith("norm.weight")));
  assertAlmostEquals(
    bytesReadPerToken(config, weights, { ...STEP, quantization: "int4" }),
    head * (1 + 4 / 256) + layers * (0.5 + 3 / 32) + 2 * norms,
  );
});

Deno.test("integers of a checkpoint are read as they are, whatever multiplies them", () => {
  const { config } = stored("tiny");
  const integers = { name: "a.qweight", dtype: "I32", isLinear: false, elements: 10, bytes: 40 };
  assertEquals(bytesReadPerToken(config, [integers], { ...STEP, format: "bf16" }), 40);
});
