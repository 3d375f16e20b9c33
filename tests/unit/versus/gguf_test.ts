import { assert, assertEquals, assertThrows } from "@std/assert";
import { GGMLQuantizationType, gguf } from "@huggingface/gguf";
import {
  ggufBytes,
  ggufBytesPerToken,
  type GgufFormat,
  ggufTensors,
  writeGguf,
} from "../../../bench/versus/gguf_model.ts";
import { GgufWriter, tensorBytes } from "../../../bench/versus/gguf_writer.ts";
import { type ModelConfig, parseModelConfig } from "../../../src/models/model_config.ts";
import { presetConfig } from "../../../src/models/presets.ts";

const CONFIG = parseModelConfig(presetConfig("tiny"), { source: "preset tiny" });

/** A tied head whose rows are whole blocks of 256, and Llama 3's rotary scaling. */
const TIED = parseModelConfig(
  {
    ...presetConfig("llama-3.2-1b"),
    hidden_size: 256,
    intermediate_size: 288,
    num_hidden_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    vocab_size: 512,
    bos_token_id: 1,
    eos_token_id: 2,
  },
  { source: "a small Llama 3.2" },
);

async function withFile(run: (path: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await run(`${folder}/model.gguf`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** Bytes of each tensor of a file, found through another reader of the format. */
async function readTensors(path: string) {
  const { tensorInfos, tensorDataOffset, metadata } = await gguf(path, { allowLocalFile: true });
  const file = Deno.readFileSync(path);
  const start = Number(tensorDataOffset);
  assertEquals(start % 32, 0);
  const tensors = tensorInfos.map(({ name, shape, dtype, offset }) => ({
    name,
    sizes: shape.map(Number),
    type: GGMLQuantizationType[dtype],
    offset: Number(offset),
  }));
  return {
    metadata: new Map(Object.entries(metadata)),
    tensors: tensors.map(({ offset, ...tensor }, index) => {
      assertEquals(offset % 32, 0);
      const end = tensors[index + 1]?.offset ?? file.length - start;
      return { ...tensor, bytes: file.slice(start + offset, start + end) };
    }),
  };
}

async function check(config: ModelConfig, format: GgufFormat): Promise<void> {
  await withFile(async (path) => {
    writeGguf(path, { config, format });
    const { tensors } = await readTensors(path);
    const expected = ggufTensors(config, format);
    const announcements: unknown[] = tensors.map(({ bytes: _, ...tensor }) => tensor);
    assertEquals(announcements, expected);
    for (const [index, { bytes, type, name }] of tensors.entries()) {
      const announced = tensorBytes(expected[index]);
      assert(bytes.length >= announced && bytes.length < announced + 32, name);
      const weights = dequantize(bytes.subarray(0, announced), type);
      const isOnes = type === "F32" && expected[index].sizes.length === 1;
      const mean = weights.reduce((sum, x) => sum + x, 0) / weights.length;
      const square = weights.reduce((sum, x) => sum + x * x, 0) / weights.length;
      if (isOnes) assert(weights.every((x) => x === 1), name);
      else {
        assert(Math.abs(mean) < 0.003, `${name}: mean ${mean}`);
        assert(Math.abs(Math.sqrt(square) - 0.02) < 0.002, `${name}: deviation`);
      }
    }
  });
}

/** Weights of a tensor, by the definition of each format. */
function dequantize(bytes: Uint8Array<ArrayBuffer>, type: string): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const weights: number[] = [];
  if (type === "F32") {
    for (let at = 0; at < bytes.length; at += 4) weights.push(view.getFloat32(at, true));
  } else if (type === "BF16") {
    const word = new DataView(new ArrayBuffer(4));
    for (let at = 0; at < bytes.length; at += 2) {
      word.setUint16(0, view.getUint16(at, true));
      weights.push(word.getFloat32(0));
    }
  } else if (type === "Q8_0") {
    for (let at = 0; at < bytes.length; at += 34) {
      const scale = view.getFloat16(at, true);
      for (let i = 0; i < 32; i++) weights.push(scale * view.getInt8(at + 2 + i));
    }
  } else if (type === "Q4_0") {
    for (let at = 0; at < bytes.length; at += 18) {
      const scale = view.getFloat16(at, true);
      for (let i = 0; i < 16; i++) {
        weights.push(
          scale * ((bytes[at + 2 + i] & 15) - 8),
          scale * ((bytes[at + 2 + i] >> 4) - 8),
        );
      }
    }
  } else {
    assertEquals(type, "Q6_K");
    for (let at = 0; at < bytes.length; at += 210) {
      const scale = view.getFloat16(at + 208, true);
      for (let i = 0; i < 256; i++) {
        const half = i >> 7, row = (i >> 5) & 3, column = i & 31;
        const low = bytes[at + 64 * half + 32 * (row & 1) + column] >> (row < 2 ? 0 : 4) & 15;
        const high = (bytes[at + 128 + 32 * half + column] >> 2 * row) & 3;
        weights.push(scale * view.getInt8(at + 192 + (i >> 4)) * ((low | high << 4) - 32));
      }
    }
  }
  return weights;
}

Deno.test("every format of a model is read back by another reader, and its weights have their deviation", async () => {
  for (const format of ["F32", "BF16", "Q8_0", "Q4_0"] as const) {
    await check(CONFIG, format);
    await check(TIED, format);
  }
});

Deno.test("a Q4_0 file keeps its head finer, as llama-quantize does", () => {
  const typeOf = (config: ModelConfig, name: string) =>
    ggufTensors(config, "Q4_0").find((tensor) => tensor.name === name)?.type;
  assertEquals(typeOf(CONFIG, "token_embd.weight"), "Q4_0");
  assertEquals(typeOf(CONFIG, "output.weight"), "Q8_0");
  assertEquals(typeOf(TIED, "token_embd.weight"), "Q6_K");
  assertEquals(typeOf(TIED, "output.weight"), undefined);
});

Deno.test("a token reads the embedding only where it is the head too", () => {
  const embedding = CONFIG.vocabSize * CONFIG.hiddenSize * 2;
  assertEquals(ggufBytes(CONFIG, "BF16") - ggufBytesPerToken(CONFIG, "BF16"), embedding);
  assertEquals(ggufBytes(TIED, "BF16"), ggufBytesPerToken(TIED, "BF16"));
});

Deno.test("metadata says the model's shape", async () => {
  await withFile(async (path) => {
    writeGguf(path, { config: TIED, format: "Q8_0" });
    const { metadata } = await readTensors(path);
    assertEquals(metadata.get("general.architecture"), "llama");
    assertEquals(metadata.get("llama.attention.head_count_kv"), 2);
    assertEquals(metadata.get("llama.rope.freq_base"), 500000);
    assertEquals(metadata.get("tokenizer.ggml.add_bos_token"), false);
    const tokens = metadata.get("tokenizer.ggml.tokens") as string[];
    assertEquals(new Set(tokens).size, TIED.vocabSize);
    assertEquals((metadata.get("tokenizer.ggml.token_type") as number[]).slice(0, 4), [2, 3, 3, 6]);
    assertEquals((metadata.get("tokenizer.ggml.scores") as number[])[5], -5);
  });
});

Deno.test("a model that is no plain Llama, and rows that are no whole blocks, are refused", () => {
  const config = parseModelConfig(presetConfig("qwen2.5-0.5b"), { source: "preset" });
  assertThrows(() => ggufTensors(config, "F32"), RangeError, "not a plain Llama");
  assertThrows(
    () => tensorBytes({ name: "w", sizes: [33, 2], type: "Q8_0" }),
    RangeError,
    "whole blocks of 32",
  );
});

Deno.test("a tensor gets exactly its bytes, and a file exactly its tensors", async () => {
  await withFile((path) => {
    const tensors = ["a", "b"].map((name) => ({ name, sizes: [3], type: "F32" as const }));
    using writer = new GgufWriter(path, { metadata: {}, tensors });
    writer.begin();
    writer.write(new Uint8Array(8));
    assertThrows(() => writer.begin(), RangeError, "4 bytes are left");
    assertThrows(() => writer.write(new Uint8Array(5)), RangeError, "nearly full");
    writer.write(new Uint8Array(4));
    assertThrows(() => writer.finish(), RangeError, "1 are written");
    writer.begin();
    writer.write(new Uint8Array(12));
    writer.finish();
    assertThrows(() => writer.begin(), RangeError, "more tensors");
    return Promise.resolve();
  });
});
