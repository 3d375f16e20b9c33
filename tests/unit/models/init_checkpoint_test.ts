import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertLess,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import { Checkpoint } from "../../../src/models/checkpoint.ts";
import { ModelLoadError } from "../../../src/models/errors.ts";
import { initCheckpoint } from "../../../src/models/init_checkpoint.ts";
import { parseModelConfig, readModelConfig } from "../../../src/models/model_config.ts";
import { parameterCount } from "../../../src/models/parameter_shapes.ts";
import { presetConfig, type PresetName } from "../../../src/models/presets.ts";
import { encodeWeights, RandomWeights } from "../../../src/models/random_weights.ts";
import { withFolder } from "../_folder.ts";

Deno.test("presets have the parameters of the published models", () => {
  const published: Partial<Record<PresetName, number>> = {
    "smollm-135m": 134_515_008,
    "smollm-360m": 361_821_120,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.1-8b": 8_030_261_248,
    "mistral-7b": 7_241_732_096,
    "qwen2.5-0.5b": 494_032_768,
    "qwen3-0.6b": 596_049_920,
    "gpt2": 124_439_808,
  };
  for (const [name, count] of Object.entries(published)) {
    assertEquals(parameterCount(parseModelConfig(presetConfig(name), { source: name })), count);
  }
});

Deno.test("an initialized checkpoint is the one that its config announces", () => {
  for (const preset of ["tiny", "mixtral-tiny"]) {
    withFolder((folder) => {
      const out = `${folder}/deep/model`;
      const fractions: number[] = [];
      const { parameters, bytes, files } = initCheckpoint({
        config: { ...presetConfig(preset), dtype: "float32" },
        seed: 7n,
        dtype: "bf16",
        out,
        onProgress: (fraction) => fractions.push(fraction),
      });
      const config = readModelConfig(out);
      using checkpoint = Checkpoint.open(out, config);
      checkpoint.verify(config);
      assertEquals(config.dtype, "bf16");
      assertEquals(checkpoint.dtype, "bf16");
      assertEquals([parameters, bytes], [parameterCount(config), checkpoint.byteLength]);
      assertEquals(files, ["model.safetensors"]);
      assertEquals(fractions.at(-1), 1);
      assertEquals(fractions, fractions.toSorted((a, b) => a - b));
    });
  }
});

Deno.test("weights depend on the seed and the name, and not on how files are cut", () => {
  withFolder((folder) => {
    const init = (name: string, seed: bigint, maxShardBytes?: number) => {
      const out = `${folder}/${name}`;
      const config = { ...presetConfig("tiny"), num_hidden_layers: 1 };
      const { files } = initCheckpoint({ config, seed, dtype: "f16", out, maxShardBytes });
      return { out, files };
    };
    const one = init("one", 1n);
    const again = init("again", 1n);
    const other = init("other", 2n);
    const cut = init("cut", 1n, 50_000);
    const read = (out: string, name: string, shape: [number, number]) => {
      using checkpoint = Checkpoint.open(out);
      const { address } = checkpoint.tensor(name, shape);
      const pointer = Deno.UnsafePointer.create(address);
      const size = 2 * shape[0] * shape[1];
      return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer!, size)).slice();
    };
    const file = (out: string) => Deno.readFileSync(`${out}/model.safetensors`);
    assertEquals(file(one.out), file(again.out));
    assertNotEquals(file(one.out), file(other.out));
    assert(cut.files.length > 1);
    assertEquals(cut.files[0], `model-00001-of-0000${cut.files.length}.safetensors`);
    const gate = "model.layers.0.mlp.gate_proj.weight";
    const up = "model.layers.0.mlp.up_proj.weight";
    assertEquals(read(one.out, gate, [160, 64]), read(cut.out, gate, [160, 64]));
    assertNotEquals(read(one.out, gate, [160, 64]), read(one.out, up, [160, 64]));
  });
});

Deno.test("a folder that holds a checkpoint, or a config that is not one, is refused", () => {
  withFolder((out) => {
    const options = { seed: 0n, dtype: "f32", out } as const;
    assertThrows(
      () => initCheckpoint({ ...options, config: { model_type: "bert" } }),
      ModelLoadError,
      "the given config",
    );
    assertThrows(
      () => initCheckpoint({ ...options, config: presetConfig("tiny"), seed: -1n }),
      RangeError,
      "64-bit",
    );
    assertEquals([...Deno.readDirSync(out)], []);
    Deno.writeTextFileSync(`${out}/tokenizer.json`, "{}");
    initCheckpoint({ ...options, config: presetConfig("tiny") });
    assertThrows(
      () => initCheckpoint({ ...options, config: presetConfig("tiny") }),
      Error,
      "holds one already",
    );
  });
});

Deno.test("random weights are normal and independent", () => {
  const random = new RandomWeights("f32", { seed: 5n, standardDeviation: 0.02 });
  const bits = new Uint32Array(1 << 18);
  random.stream("w").fill(bits);
  const values = new Float32Array(bits.buffer);
  const mean = (f: (value: number, i: number) => number) =>
    values.reduce((sum, value, i) => sum + f(value / 0.02, i), 0) / values.length;
  assertAlmostEquals(mean((x) => x), 0, 0.01);
  assertAlmostEquals(mean((x) => x ** 2), 1, 0.01);
  assertAlmostEquals(mean((x) => x ** 4), 3, 0.05);
  assertAlmostEquals(mean((x) => x < 1 ? 1 : 0), 0.8413447, 0.003);
  for (const lag of [1, 2, 3, 64]) {
    assertAlmostEquals(mean((x, i) => x * (values[i + lag] ?? 0) / 0.02), 0, 0.01);
  }
  assertThrows(() => random.stream("w").fill(new Uint32Array(3)), RangeError, "odd");
});

Deno.test("weights are rounded to the nearest value of their type", () => {
  const values = Float64Array.of(1, -1, 0, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 0.02, -3.14159);
  const bf16 = encodeWeights(values, "bf16");
  // Halfway between two neighbours the even one is taken: 1 + 2^-8 -> 1, 1 + 3 2^-8 -> 1 + 2^-6.
  assertEquals([...bf16.subarray(0, 5)], [0x3f80, 0xbf80, 0, 0x3f80, 0x3f82]);
  for (const [dtype, digits] of [["bf16", 8], ["f16", 11], ["f32", 24]] as const) {
    const encoded = encodeWeights(values, dtype);
    values.forEach((value, i) => {
      const decoded = dtype === "f16"
        ? new Float16Array(Uint16Array.of(encoded[i]).buffer)[0]
        : new Float32Array(
          Uint32Array.of(dtype === "f32" ? encoded[i] : encoded[i] << 16).buffer,
        )[0];
      assertLess(Math.abs(decoded - value), Math.abs(value) * 2 ** -digits + Number.MIN_VALUE);
    });
  }
});
