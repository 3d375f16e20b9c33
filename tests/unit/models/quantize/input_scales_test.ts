import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import type { WeightSource } from "../../../../src/layers/weight_source.ts";
import { Checkpoint } from "../../../../src/models/checkpoint.ts";
import { readModelConfig } from "../../../../src/models/model_config.ts";
import { type ParameterShape, parameterShapes } from "../../../../src/models/parameter_shapes.ts";
import { searchInputScales } from "../../../../src/models/quantize/input_scales.ts";
import { captureLayerInputs } from "../../../../src/models/quantize/layer_inputs.ts";
import { ScaledWeights } from "../../../../src/models/quantize/scaled_weights.ts";
import { transpose } from "../../../../src/models/quantize/stored_floats.ts";
import { openDevice } from "../../../../src/tensor/open_device.ts";
import { Random } from "../../tensor/_random.ts";

const TOKENS = Array.from({ length: 40 }, (_, i) => 2 + (i * 37) % 300);

Deno.test("features of large magnitude get large scales; what nobody read gets none", () => {
  using device = openDevice({ kind: "cpu", threads: 1 });
  const random = new Random(3);
  const [rows, columns, tokens] = [48, 64, 50];
  const weight = { values: random.normals(rows * columns), rows, columns };
  const search = (loud: readonly number[]) => {
    const sample = random.normals(tokens * columns);
    for (const column of loud) {
      for (let row = 0; row < tokens; row++) sample[row * columns + column] *= 50;
    }
    const mean = (of: (x: number) => number) =>
      Float32Array.from({ length: columns }, (_, column) => {
        const values = Array.from(
          { length: tokens },
          (_, row) => of(sample[row * columns + column]),
        );
        return values.reduce((sum, value) => sum + value, 0) / tokens;
      });
    const inputs = {
      sample,
      rows: tokens,
      magnitudes: mean(Math.abs),
      squares: mean((x) => x * x),
    };
    return searchInputScales([{ weight, inputs }], { device, groupSize: 32 });
  };
  const scales = search([5, 40])!;
  const quiet = scales.filter((_, column) => column !== 5 && column !== 40);
  assertLess(2 * Math.max(...quiet), Math.min(scales[5], scales[40]));
  const unvisited = { sample: new Float32Array(), rows: 0, magnitudes: quiet, squares: quiet };
  assertEquals(searchInputScales([{ weight, inputs: unvisited }], { device, groupSize: 32 }), null);
});

/** The scaled parameters as a dense checkpoint. */
function scaledSource(
  checkpoint: Checkpoint,
  options: { weights: ScaledWeights; parameters: readonly ParameterShape[] },
): WeightSource {
  const { weights, parameters } = options;
  const byName = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  const kept: Float32Array[] = [];
  return {
    has: (name) => checkpoint.has(name),
    tensor(name, shape) {
      const parameter = byName.get(name)!;
      const { layer } = parameter;
      const dense = layer && weights.weight(layer.name);
      const values = dense && layer.transposed
        ? transpose(dense.values, dense)
        : dense?.values ?? weights.changed(parameter);
      if (!values) return checkpoint.tensor(name, shape);
      kept.push(values);
      const pointer = Deno.UnsafePointer.of(values as Float32Array<ArrayBuffer>);
      return { address: Deno.UnsafePointer.value(pointer), dtype: "f32", shape };
    },
  };
}

for (
  const [family, places] of [["llama", 12], ["qwen2", 12], ["mixtral", 24], ["gpt2", 8]] as const
) {
  Deno.test(`moving scales does not change what the model computes: ${family}`, () => {
    using device = openDevice({ kind: "cpu", threads: 1 });
    const folder = `tests/fixtures/golden/${family}`;
    const config = readModelConfig(folder);
    using checkpoint = Checkpoint.open(folder, config);
    const parameters = parameterShapes(config);
    const inputs = captureLayerInputs(config, { device, weights: checkpoint, tokenIds: TOKENS });
    const weights = new ScaledWeights(checkpoint, parameters);
    const layers: number[] = [];
    const onLayer = (index: number) => layers.push(index);
    const found = weights.search(config, { inputs, device, groupSize: 32, onLayer });
    assertEquals(layers, [0, 1, 2, 3]);
    assert(found > places / 2 && found <= places, String(found));
    const source = scaledSource(checkpoint, { weights, parameters });
    const after = captureLayerInputs(config, { device, weights: source, tokenIds: TOKENS });
    const last = family === "gpt2"
      ? "transformer.h.3.mlp.c_proj"
      : "model.layers.3.self_attn.o_proj";
    assertClose(after.get(last)!.sample, inputs.get(last)!.sample);
    const scaled = "h.3.mlp.c_fc|layers.3.self_attn.q_proj";
    const changed = [...inputs.keys()].find((name) => new RegExp(scaled).test(name))!;
    assertThrows(() => assertClose(after.get(changed)!.sample, inputs.get(changed)!.sample));
  });
}

function assertClose(actual: Float32Array, expected: Float32Array): void {
  assertEquals(actual.length, expected.length);
  const size = Math.sqrt(expected.reduce((sum, x) => sum + x * x, 0) / expected.length);
  actual.forEach((value, i) => assertLess(Math.abs(value - expected[i]), 1e-3 * size));
}
