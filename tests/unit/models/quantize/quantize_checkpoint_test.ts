import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { Checkpoint } from "../../../../src/models/checkpoint.ts";
import { readModelConfig } from "../../../../src/models/model_config.ts";
import { parameterShapes } from "../../../../src/models/parameter_shapes.ts";
import {
  quantizeCheckpoint,
  type QuantizeCheckpointOptions,
} from "../../../../src/models/quantize/quantize_checkpoint.ts";
import { readFloats, transpose } from "../../../../src/models/quantize/stored_floats.ts";
import { openDevice } from "../../../../src/tensor/open_device.ts";
import { withFolder } from "../../_folder.ts";
import { dequantize } from "../../tensor/_dequantize.ts";

const GOLDEN = "tests/fixtures/golden";
const TOKENS = Array.from({ length: 30 }, (_, i) => 2 + (i * 37) % 300);

function quantize(options: Partial<QuantizeCheckpointOptions> & { model: string; out: string }) {
  using device = openDevice({ kind: "cpu", threads: 1 });
  return quantizeCheckpoint({ method: "int8", calibration: TOKENS, device, ...options });
}

for (const family of ["llama", "qwen2", "mixtral", "gpt2"]) {
  Deno.test(`int8 of ${family} holds what it was made of, in one file or several`, () => {
    withFolder((folder) => {
      const model = `${GOLDEN}/${family}`;
      const out = `${folder}/out`;
      const { files, bytes, bytesBefore } = quantize({ model, out, maxShardBytes: 100_000 });
      assert(files.length > 2);
      assertLess(bytes, bytesBefore);
      const config = readModelConfig(out);
      using dense = Checkpoint.open(model, readModelConfig(model));
      using checkpoint = Checkpoint.open(out, config);
      checkpoint.verify(config);
      for (const { name, shape, layer } of parameterShapes(config)) {
        const stored = readFloats(dense.tensor(name, shape));
        const matrix = layer && checkpoint.quantized(layer.name, layer);
        if (!matrix) {
          assertEquals(readFloats(checkpoint.tensor(name, shape)), stored);
          continue;
        }
        const [rows, columns] = shape;
        const expected = layer!.transposed ? transpose(stored, { rows, columns }) : stored;
        const most = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        dequantize(matrix).forEach((value, i) => {
          assertLess(Math.abs(value - expected[i]), most / 120);
        });
      }
    });
  });
}

Deno.test("int4 has the layers, groups and dense parts that its config says", () => {
  withFolder((folder) => {
    for (const [family, groupSize] of [["mixtral", 32], ["gpt2", 64], ["llama", 16]] as const) {
      const model = `${GOLDEN}/${family}`;
      const out = `${folder}/${family}`;
      const asked = family === "llama" ? groupSize : undefined;
      const written = quantize({ model, out, method: "int4", groupSize: asked });
      assertEquals(written.groupSize, groupSize);
      const config = readModelConfig(out);
      assertEquals(config.quantization?.groupSize, groupSize);
      assertEquals(
        config.quantization?.denseLayers,
        family === "mixtral" ? ["block_sparse_moe.gate"] : [],
      );
      using checkpoint = Checkpoint.open(out, config);
      checkpoint.verify(config);
      const layers = parameterShapes(config).flatMap(({ layer }) => layer ? [layer] : []);
      const quantized = layers.filter(({ name }) => checkpoint.isQuantized(name));
      assertEquals(quantized, layers.filter(({ name }) => name !== "lm_head"));
    }
  });
});

Deno.test("other files come along, weights of other kinds and hidden files do not", () => {
  withFolder((folder) => {
    const model = `${folder}/model`;
    Deno.mkdirSync(`${model}/nested`, { recursive: true });
    for (const name of ["config.json", "model.safetensors", "tokenizer.json"]) {
      Deno.copyFileSync(`${GOLDEN}/llama/${name}`, `${model}/${name}`);
    }
    for (const name of ["LICENSE", "pytorch_model.bin", ".gitattributes"]) {
      Deno.writeTextFileSync(`${model}/${name}`, name);
    }
    Deno.symlinkSync(`${model}/LICENSE`, `${model}/linked.txt`);
    const out = `${folder}/a/b/out/`;
    quantize({ model, out });
    const names = [...Deno.readDirSync(out)].map(({ name, isSymlink }) => `${name}${isSymlink}`);
    assertEquals(
      names.sort(),
      ["LICENSE", "config.json", "linked.txt", "model.safetensors", "tokenizer.json"]
        .map((name) => `${name}false`),
    );
    assertEquals([...Deno.readDirSync(`${folder}/a/b`)].length, 1);
    assertEquals(Deno.statSync(out).mode! & 0o777, 0o777 & ~Deno.umask());
  });
});

Deno.test("an empty folder is filled, one that is not empty is refused, a failure leaves nothing", () => {
  withFolder((folder) => {
    const model = `${GOLDEN}/llama`;
    const out = `${folder}/out`;
    Deno.mkdirSync(out);
    quantize({ model, out });
    assertThrows(() => quantize({ model, out }), Error, "not empty");
    const broken = { model, out: `${folder}/broken` };
    assertThrows(
      () =>
        quantize({
          ...broken,
          onProgress: () => {
            throw new Error("stop");
          },
        }),
      Error,
      "stop",
    );
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["out"]);
  });
});

Deno.test("what cannot be quantised is refused before anything is written", () => {
  withFolder((folder) => {
    const out = `${folder}/out`;
    assertThrows(
      () => quantize({ model: `${GOLDEN}/llama-gptq`, out }),
      Error,
      "quantised already: gptq",
    );
    assertThrows(
      () => quantize({ model: `${GOLDEN}/llama`, out, method: "int4", groupSize: 48 }),
      RangeError,
      "groups of 48 as it has 64: sizes that work: 32",
    );
    assertEquals([...Deno.readDirSync(folder)], []);
  });
});
