import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Checkpoint } from "../../../src/models/checkpoint.ts";
import { ModelLoadError } from "../../../src/models/errors.ts";
import { type ModelConfig, readModelConfig } from "../../../src/models/model_config.ts";
import { parameterCount, parameterShapes } from "../../../src/models/parameter_shapes.ts";
import { SafetensorsWriter } from "../../../src/models/safetensors_writer.ts";
import { dtypeBytes } from "../../../src/tensor/dtype.ts";
import { withFolder } from "../_folder.ts";

const GOLDEN = "tests/fixtures/golden";
const FAMILIES = ["gpt2", "llama", "llama31", "mistral", "mixtral", "qwen2", "qwen3"];

interface TestTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

function f32Tensor(name: string, values: number[], shape = [values.length]): TestTensor {
  return { name, dtype: "F32", shape, bytes: new Uint8Array(new Float32Array(values).buffer) };
}

function write(path: string, tensors: readonly TestTensor[]): void {
  using writer = new SafetensorsWriter(path, {
    tensors: tensors.map((tensor) => ({ ...tensor, byteLength: tensor.bytes.length })),
  });
  for (const { bytes } of tensors) writer.write(bytes);
  writer.finish();
}

function readBytes(address: bigint, length: number): Uint8Array {
  const pointer = Deno.UnsafePointer.create(address);
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer!, length)).slice();
}

/** Runs `action`, which must be refused with a file and tensor that the message names too. */
function refusal(
  action: () => unknown,
  expected: { file: string; tensor: string | null },
): string {
  const error = assertThrows(action, ModelLoadError);
  assertEquals({ file: error.file, tensor: error.tensor }, expected);
  assertStringIncludes(error.message, expected.file);
  if (expected.tensor) assertStringIncludes(error.message, expected.tensor);
  return error.message;
}

Deno.test("every golden checkpoint holds what its config announces, and nothing else", () => {
  for (const folder of [...FAMILIES.map((family) => `${GOLDEN}/${family}`), "models/demo"]) {
    const config = readModelConfig(folder);
    using checkpoint = Checkpoint.open(folder, config);
    checkpoint.verify(config);
    assertEquals(checkpoint.dtype, config.dtype);
    assertEquals(checkpoint.byteLength, parameterCount(config) * dtypeBytes(config.dtype));
    for (const { name, shape } of parameterShapes(config)) {
      assertEquals(checkpoint.tensor(name, shape).shape, shape);
    }
  }
});

Deno.test("a tensor's address leads to its bytes", () => {
  withFolder((folder) => {
    write(`${folder}/model.safetensors`, [f32Tensor("a", [1, 2]), f32Tensor("b", [3, 4, 5])]);
    const checkpoint = Checkpoint.open(folder);
    const { address, dtype } = checkpoint.tensor("b", [3]);
    assertEquals(dtype, "f32");
    assertEquals([...new Float32Array(readBytes(address, 12).buffer)], [3, 4, 5]);
    assertEquals(checkpoint.byteLength, 20);
    checkpoint[Symbol.dispose]();
    checkpoint[Symbol.dispose]();
    assertThrows(() => checkpoint.tensor("b", [3]), Error, "disposed");
  });
});

Deno.test("tensors that do not lie on their elements' boundary are aligned", () => {
  withFolder((folder) => {
    const odd = { name: "odd", dtype: "U8", shape: [3], bytes: Uint8Array.of(1, 2, 3) };
    const large = Array.from({ length: 1000 }, (_, i) => i);
    write(`${folder}/model.safetensors`, [odd, f32Tensor("a", [6, 7]), f32Tensor("b", large)]);
    using checkpoint = Checkpoint.open(folder);
    for (const [name, values] of [["a", [6, 7]], ["b", large]] as const) {
      const { address } = checkpoint.tensor(name, [values.length]);
      assertEquals(address % 4n, 0n);
      assertEquals(address, checkpoint.tensor(name, [values.length]).address);
      assertEquals([...new Float32Array(readBytes(address, 4 * values.length).buffer)], [
        ...values,
      ]);
    }
  });
});

Deno.test("a tensor that is missing or has another shape or type is refused by name", () => {
  withFolder((folder) => {
    const file = `${folder}/model.safetensors`;
    const i64 = { name: "ids", dtype: "I64", shape: [1], bytes: new Uint8Array(8) };
    write(file, [f32Tensor("w", [1, 2, 3, 4, 5, 6], [2, 3]), i64]);
    using checkpoint = Checkpoint.open(folder);
    assertStringIncludes(
      refusal(() => checkpoint.tensor("v", [1]), { file: folder, tensor: "v" }),
      "missing",
    );
    for (const shape of [[3, 2], [6], [2, 3, 1], []]) {
      const message = refusal(() => checkpoint.tensor("w", shape), { file, tensor: "w" });
      assertStringIncludes(message, `must be [${shape.join(", ")}]: it is [2, 3]`);
    }
    const message = refusal(() => checkpoint.tensor("ids", [1]), { file, tensor: "ids" });
    assertStringIncludes(message, "it is I64");
    assertEquals([checkpoint.has("w"), checkpoint.has("v")], [true, false]);
  });
});

/** Writes an index and one shard for each entry of `shards`. */
function writeShards(
  folder: string,
  shards: Record<string, TestTensor[]>,
  weightMap?: unknown,
): string {
  const map: Record<string, string> = {};
  for (const [shard, tensors] of Object.entries(shards)) {
    write(`${folder}/${shard}`, tensors);
    for (const { name } of tensors) map[name] = shard;
  }
  const index = `${folder}/model.safetensors.index.json`;
  Deno.writeTextFileSync(index, JSON.stringify({ weight_map: weightMap ?? map }));
  return index;
}

Deno.test("shards are read through their index", () => {
  withFolder((folder) => {
    writeShards(folder, {
      "one.safetensors": [f32Tensor("a", [1]), f32Tensor("b", [2, 3])],
      "two.safetensors": [f32Tensor("c", [4])],
    });
    using checkpoint = Checkpoint.open(folder);
    assertEquals(checkpoint.names().toSorted(), ["a", "b", "c"]);
    const { address } = checkpoint.tensor("c", [1]);
    assertEquals([...new Float32Array(readBytes(address, 4).buffer)], [4]);
  });
});

Deno.test("an index that lies is refused", () => {
  withFolder((folder) => {
    const shards = { "one.safetensors": [f32Tensor("a", [1])] };
    const open = () => Checkpoint.open(folder);
    for (
      const shard of [
        "../one.safetensors",
        "/etc/passwd",
        "a/one.safetensors",
        "..",
        "",
        "one.bin",
        1,
      ]
    ) {
      const file = writeShards(folder, shards, { a: shard });
      assertStringIncludes(refusal(open, { file, tensor: "a" }), JSON.stringify(shard));
    }
    for (const map of [[], "one.safetensors", 1]) {
      const file = writeShards(folder, shards, map);
      refusal(open, { file, tensor: null });
    }
    writeShards(folder, shards, { a: "absent.safetensors" });
    const absent = `${folder}/absent.safetensors`;
    assertStringIncludes(refusal(open, { file: absent, tensor: null }), "does not exist");

    writeShards(folder, shards, { a: "one.safetensors", b: "one.safetensors" });
    refusal(open, { file: `${folder}/one.safetensors`, tensor: "b" });

    writeShards(folder, {
      "one.safetensors": [f32Tensor("a", [1])],
      "two.safetensors": [f32Tensor("b", [1]), f32Tensor("a", [1])],
    }, { a: "one.safetensors", b: "two.safetensors" });
    assertStringIncludes(
      refusal(open, { file: `${folder}/two.safetensors`, tensor: "a" }),
      "holds it too",
    );
  });
});

Deno.test("a folder without safetensors is refused, and pickles are not read", () => {
  withFolder((folder) => {
    assertStringIncludes(
      refusal(() => Checkpoint.open(folder), { file: folder, tensor: null }),
      "neither model.safetensors nor",
    );
    Deno.writeTextFileSync(`${folder}/pytorch_model.bin`, "");
    assertStringIncludes(
      refusal(() => Checkpoint.open(folder), { file: folder, tensor: null }),
      "pickle",
    );
  });
});

/** The parameters of `config` as zeros, with other names and extra tensors where wanted. */
function writeModel(
  folder: string,
  config: ModelConfig,
  options: { rename?: (name: string) => string; extra?: readonly TestTensor[] },
): void {
  const { rename = (name) => name, extra = [] } = options;
  const zeros = parameterShapes(config).map(({ name, shape }): TestTensor => {
    const bytes = new Uint8Array(4 * shape.reduce((product, size) => product * size, 1));
    return { name: rename(name), dtype: "F32", shape, bytes };
  });
  write(`${folder}/model.safetensors`, [...zeros, ...extra]);
}

Deno.test("GPT-2 is read with and without its prefix, but not with both", () => {
  const config = readModelConfig(`${GOLDEN}/gpt2`);
  const bare = (name: string) => name.replace(/^transformer\./, "");
  const masks = [f32Tensor("h.0.attn.bias", [0]), f32Tensor("h.0.attn.masked_bias", [0])];
  for (const rename of [bare, undefined]) {
    withFolder((folder) => {
      const head = f32Tensor("lm_head.weight", new Array<number>(64).fill(0), [1, 64]);
      writeModel(folder, config, { rename, extra: [...masks, head] });
      using checkpoint = Checkpoint.open(folder, config);
      checkpoint.verify(config);
      checkpoint.tensor("transformer.wte.weight", [320, 64]);
      assertEquals(checkpoint.byteLength, 4 * parameterCount(config));
    });
  }
  withFolder((folder) => {
    writeModel(folder, config, { extra: [f32Tensor("ln_f.bias", [0])] });
    assertThrows(() => Checkpoint.open(folder, config), ModelLoadError, "same parameter");
  });
});

Deno.test("stored frequencies and a tied head are ignored, other superfluous weights refused", () => {
  const tied = readModelConfig(`${GOLDEN}/llama31`);
  const file = (folder: string) => `${folder}/model.safetensors`;
  withFolder((folder) => {
    const frequencies = f32Tensor("model.layers.0.self_attn.rotary_emb.inv_freq", [1, 2]);
    writeModel(folder, tied, { extra: [frequencies, f32Tensor("lm_head.weight", [1])] });
    using checkpoint = Checkpoint.open(folder, tied);
    checkpoint.verify(tied);
  });
  withFolder((folder) => {
    const bias = "model.layers.0.self_attn.q_proj.bias";
    writeModel(folder, tied, { extra: [f32Tensor(bias, new Array<number>(64).fill(0))] });
    using checkpoint = Checkpoint.open(folder, tied);
    refusal(() => checkpoint.verify(tied), { file: file(folder), tensor: bias });
  });
});

Deno.test("a config.json that lies about its checkpoint is refused by the headers alone", () => {
  const folder = `${GOLDEN}/llama`;
  const config = readModelConfig(folder);
  const file = `${folder}/model.safetensors`;
  using checkpoint = Checkpoint.open(folder, config);
  const lies: [Partial<ModelConfig>, { file: string; tensor: string }][] = [
    [{ vocabSize: 2 ** 24 }, { file, tensor: "model.embed_tokens.weight" }],
    [{ numHeads: 4096 }, { file, tensor: "model.layers.0.self_attn.q_proj.weight" }],
    [{ numKvHeads: 8 }, { file, tensor: "model.layers.0.self_attn.k_proj.weight" }],
    [{ intermediateSize: 161 }, { file, tensor: "model.layers.0.mlp.gate_proj.weight" }],
    [{ numLayers: 1024 }, { file: folder, tensor: "model.layers.4.input_layernorm.weight" }],
    [{ numLayers: 3 }, { file, tensor: "model.layers.3.input_layernorm.weight" }],
    [{ tieWordEmbeddings: true }, { file, tensor: "lm_head.weight" }],
    [{ qkNorm: true }, { file: folder, tensor: "model.layers.0.self_attn.q_norm.weight" }],
  ];
  for (const [lie, expected] of lies) {
    refusal(() => checkpoint.verify({ ...config, ...lie }), expected);
  }
});

Deno.test("a file that changes after its header was read is refused", () => {
  withFolder((folder) => {
    const file = `${folder}/model.safetensors`;
    write(file, [f32Tensor("w", [1, 2])]);
    using checkpoint = Checkpoint.open(folder);
    Deno.truncateSync(file, 20);
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = assertThrows(() => checkpoint.tensor("w", [2]), ModelLoadError, "changed");
      assertEquals(error.file, file);
    }
  });
});

Deno.test("a damaged file is refused or read inside its bounds", () => {
  withFolder((folder) => {
    const file = `${folder}/model.safetensors`;
    write(file, [f32Tensor("a", [1, 2, 3]), f32Tensor("b", [4, 5, 6, 7], [2, 2])]);
    const whole = Deno.readFileSync(file);
    const damage = fc.record({
      length: fc.oneof(fc.constant(whole.length), fc.nat(whole.length + 8)),
      flips: fc.array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 })), {
        maxLength: 3,
      }),
    });
    let accepted = 0;
    fc.assert(
      fc.property(damage, ({ length, flips }) => {
        const bytes = new Uint8Array(length);
        bytes.set(whole.subarray(0, length));
        for (const [index, value] of flips) if (index < length) bytes[index] = value;
        Deno.writeFileSync(file, bytes);
        try {
          using checkpoint = Checkpoint.open(folder);
          const { address } = checkpoint.tensor("b", [2, 2]);
          const data = readBytes(address, 16);
          assertEquals(data, bytes.slice(length - 16));
          accepted++;
        } catch (error) {
          if (!(error instanceof ModelLoadError)) throw error;
        }
      }),
      { numRuns: 300, seed: 3 },
    );
    assert(accepted > 0 && accepted < 300, `${accepted} accepted`);
  });
});

Deno.test("tensors that are mapped and those that are read are the same, also after a release", () => {
  const folder = `${GOLDEN}/llama`;
  const config = readModelConfig(folder);
  using mapped = Checkpoint.open(folder, config);
  using read = Checkpoint.open(folder, config, { mapped: false });
  for (const { name, shape } of parameterShapes(config).slice(0, 4)) {
    const length = shape.reduce((product, size) => product * size, dtypeBytes(config.dtype));
    const expected = readBytes(mapped.tensor(name, shape).address, length);
    assertEquals(readBytes(read.tensor(name, shape).address, length), expected);
    read.release();
    assertEquals(readBytes(read.tensor(name, shape).address, length), expected);
    const { address } = mapped.tensor(name, shape);
    mapped.release();
    assertEquals(readBytes(address, length), expected);
  }
});
