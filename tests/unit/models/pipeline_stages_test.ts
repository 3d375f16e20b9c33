import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { parseModelConfig } from "../../../src/models/model_config.ts";
import {
  balanceStages,
  headLayersOf,
  stageOf,
  stagesByCost,
} from "../../../src/models/pipeline_stages.ts";
import { presetConfig, type PresetName } from "../../../src/models/presets.ts";

const read = (preset: PresetName, changes: Record<string, unknown> = {}) =>
  parseModelConfig({ ...presetConfig(preset), ...changes }, { source: "config.json" });

/** What the slowest stage has beyond a fair share, in the worse of prefill and decode. */
function excess(layers: readonly number[], headLayers: number): number {
  const total = layers.reduce((sum, count) => sum + count, 0);
  const decode = layers.map((count, i) => count + (i === layers.length - 1 ? headLayers : 0));
  return layers.length *
    Math.max(Math.max(...layers) / total, Math.max(...decode) / (total + headLayers));
}

Deno.test("stages follow each other and cover every layer", () => {
  const shapes = fc.record({
    numLayers: fc.integer({ min: 1, max: 80 }),
    stages: fc.nat({ max: 79 }),
    headLayers: fc.double({ min: 0, max: 40, noNaN: true }),
  });
  fc.assert(fc.property(shapes, ({ numLayers, stages: more, headLayers }) => {
    const stages = 1 + more % numLayers;
    const layers = balanceStages({ numLayers, stages, headLayers });
    assertEquals(layers.length, stages);
    let next = 0;
    for (let rank = 0; rank < stages; rank++) {
      const stage = stageOf(layers, rank);
      assertEquals(stage.firstLayer, next);
      assert(stage.endLayer > stage.firstLayer);
      assertEquals([stage.first, stage.last], [rank === 0, rank === stages - 1]);
      next = stage.endLayer;
    }
    assertEquals(next, numLayers);
  }));
});

Deno.test("no cut of two stages is better in the worse of prefill and decode", () => {
  const shapes = fc.record({
    numLayers: fc.integer({ min: 2, max: 40 }),
    headLayers: fc.double({ min: 0, max: 40, noNaN: true }),
  });
  fc.assert(fc.property(shapes, ({ numLayers, headLayers }) => {
    const best = excess(balanceStages({ numLayers, stages: 2, headLayers }), headLayers);
    for (let first = 1; first < numLayers; first++) {
      assert(best <= excess([first, numLayers - first], headLayers) + 1e-12);
    }
  }));
});

Deno.test("the output head counts, but prefill has none to speak of", () => {
  // SmolLM's head weighs as much as eight layers, Llama 1B's as 4.3, Llama 8B's as 2.4.
  assertEquals(headLayersOf(read("smollm-135m")), 8);
  assertEquals(stagesByCost(read("smollm-135m"), 2), [17, 13]);
  assertEquals(stagesByCost(read("llama-3.2-1b"), 2), [9, 7]);
  assertEquals(stagesByCost(read("llama-3.1-8b"), 4), [9, 9, 8, 6]);
});

Deno.test("a head that stays dense costs more beside layers of 4 bits", () => {
  const quantization_config = { quant_method: "awq", bits: 4, group_size: 64, version: "gemm" };
  const model = read("smollm-135m", { torch_dtype: "bfloat16", quantization_config });
  assertEquals(headLayersOf(model), 16);
});

Deno.test("more stages than layers are refused", () => {
  const config = read("tiny");
  assertThrows(
    () => stagesByCost(config, config.numLayers + 1),
    RangeError,
    "every stage needs a layer",
  );
});
