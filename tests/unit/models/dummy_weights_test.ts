import { assert, assertEquals, assertThrows } from "@std/assert";
import { DummyWeights } from "../../../src/models/dummy_weights.ts";
import { parseModelConfig } from "../../../src/models/model_config.ts";
import { parameterShapes } from "../../../src/models/parameter_shapes.ts";
import { presetConfig } from "../../../src/models/presets.ts";

const CONFIG = parseModelConfig({ ...presetConfig("tiny"), torch_dtype: "float32" }, {
  source: "tiny",
});

function floats(address: bigint, count: number): Float32Array {
  const pointer = Deno.UnsafePointer.create(address)!;
  return new Float32Array(Deno.UnsafePointerView.getArrayBuffer(pointer, count * 4));
}

Deno.test("dummy weights exist for every parameter: norms are 1, matrices normal and not repetitive", () => {
  const weights = new DummyWeights(CONFIG);
  for (const { name, shape, kind } of parameterShapes(CONFIG)) {
    assertEquals(weights.has(name), true);
    const { address, dtype } = weights.tensor(name, shape);
    assertEquals(dtype, "f32");
    const count = shape.reduce((product, size) => product * size, 1);
    const values = floats(address, count);
    if (kind === "norm") {
      assert(values.every((value) => value === 1));
      continue;
    }
    const mean = values.reduce((sum, value) => sum + value, 0) / count;
    const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / count);
    assert(Math.abs(mean) < 1e-3 && Math.abs(deviation - 0.02) < 1e-3, `${mean} ${deviation}`);
    const [first, second] = [0, 1].map((row) =>
      values.subarray(row * shape[1], (row + 1) * shape[1])
    );
    assert(first.some((value, i) => value !== second[i]));
  }
});

Deno.test("dummy weights refuse parameters that the model does not have", () => {
  const weights = new DummyWeights(CONFIG);
  assertEquals(weights.has("lm_tail.weight"), false);
  assertThrows(() => weights.tensor("lm_tail.weight", [1]), RangeError, "has none");
  assertThrows(() => weights.tensor("model.norm.weight", [63]), RangeError, "[64]");
});
