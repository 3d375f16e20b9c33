import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { parseModelConfig } from "../../../src/models/model_config.ts";
import { stageOf } from "../../../src/models/pipeline_stages.ts";
import { presetConfig } from "../../../src/models/presets.ts";

const read = (json: Record<string, unknown>) => parseModelConfig(json, { source: "config.json" });

function layers(config: ReturnType<typeof read>, stages: number): number[] {
  return Array.from({ length: stages }, (_, rank) => {
    const { firstLayer, endLayer } = stageOf(config, { rank, stages });
    return endLayer - firstLayer;
  });
}

Deno.test("stageOf: stages follow each other and cover every layer", () => {
  const shapes = fc.record({
    numLayers: fc.integer({ min: 1, max: 80 }),
    stages: fc.nat({ max: 79 }),
  });
  fc.assert(fc.property(shapes, ({ numLayers, stages: more }) => {
    const stages = 1 + more % numLayers;
    const config = { ...read(presetConfig("smollm-135m")), numLayers };
    let next = 0;
    for (let rank = 0; rank < stages; rank++) {
      const stage = stageOf(config, { rank, stages });
      assertEquals(stage.firstLayer, next);
      assert(stage.endLayer > stage.firstLayer);
      assertEquals([stage.first, stage.last], [rank === 0, rank === stages - 1]);
      next = stage.endLayer;
    }
    assertEquals(next, numLayers);
  }));
});

Deno.test("stageOf: the output head counts", () => {
  // SmolLM's head weighs as much as eight of its thirty layers, Llama 8B's as much as two or three.
  assertEquals(layers(read(presetConfig("smollm-135m")), 2), [19, 11]);
  assertEquals(layers(read(presetConfig("llama-3.1-8b")), 4), [9, 9, 8, 6]);
});

Deno.test("stageOf: more stages than layers are refused", () => {
  const config = read(presetConfig("tiny"));
  assertThrows(
    () => stageOf(config, { rank: 0, stages: config.numLayers + 1 }),
    RangeError,
    "every stage needs a layer",
  );
});
