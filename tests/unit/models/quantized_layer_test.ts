import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { Checkpoint } from "../../../src/models/checkpoint.ts";
import { DummyWeights } from "../../../src/models/dummy_weights.ts";
import { ModelLoadError } from "../../../src/models/errors.ts";
import { parseModelConfig, readModelConfig } from "../../../src/models/model_config.ts";
import { parameterCount, parameterShapes } from "../../../src/models/parameter_shapes.ts";
import { presetConfig } from "../../../src/models/presets.ts";
import type { NamedLayer } from "../../../src/models/quantized_layer.ts";
import { readCheckpointFiles } from "../../../src/models/checkpoint_files.ts";
import {
  type SafetensorsTensor,
  SafetensorsWriter,
} from "../../../src/models/safetensors_writer.ts";
import { type Scheme, writeQuantized } from "../../golden/_quantized_checkpoint.ts";
import { dequantize } from "../tensor/_dequantize.ts";
import { withFolder } from "../_folder.ts";

const LLAMA = "tests/fixtures/golden/llama";
const AWQ: Scheme = { method: "awq", bits: 4, groupSize: 32 };
const GPTQ: Scheme = { method: "gptq", bits: 4, groupSize: 32 };

const SCHEMES: Readonly<Record<string, Scheme>> = {
  "AWQ": AWQ,
  "AWQ of short last groups": { ...AWQ, groupSize: 64 },
  "AWQ without zeros": { ...AWQ, groupSize: -1, symmetric: true, withoutZeros: true },
  "GPTQ": GPTQ,
  "GPTQ in any order": { ...GPTQ, groupSize: 16, actOrder: true },
  "GPTQ of the second format": { ...GPTQ, version2: true, groupSize: 64 },
  "GPTQ of 8 bits": { ...GPTQ, bits: 8, symmetric: true },
  "GPTQ without zeros": { ...GPTQ, bits: 8, groupSize: -1, symmetric: true, withoutZeros: true },
  "compressed-tensors": { method: "compressed-tensors", bits: 8, groupSize: -1 },
};

function linearLayers(folder: string): NamedLayer[] {
  return parameterShapes(readModelConfig(folder)).flatMap(({ layer }) => layer ? [layer] : []);
}

for (const [name, scheme] of Object.entries(SCHEMES)) {
  Deno.test(`layers of ${name} are found, and dense ones beside them`, () => {
    withFolder((folder) => {
      const folders = { quantized: `${folder}/q`, dequantized: `${folder}/d` };
      writeQuantized(LLAMA, folders, { ...scheme, dense: ["layers.1.mlp"] });
      const config = readModelConfig(folders.quantized);
      using checkpoint = Checkpoint.open(folders.quantized, config);
      checkpoint.verify(config);
      using dense = Checkpoint.open(folders.dequantized, readModelConfig(folders.dequantized));
      const found = new Map<string, boolean>();
      for (const layer of linearLayers(folders.quantized)) {
        const matrix = checkpoint.quantized(layer.name, layer);
        found.set(layer.name, matrix !== null);
        if (!matrix) continue;
        const { inFeatures, outFeatures } = layer;
        const expected = dense.tensor(`${layer.name}.weight`, [outFeatures, inFeatures]);
        const pointer = Deno.UnsafePointer.create(expected.address)!;
        const floats = Deno.UnsafePointerView.getArrayBuffer(pointer, outFeatures * inFeatures * 4);
        assertEquals(Float32Array.from(dequantize(matrix)), new Float32Array(floats.slice(0)));
      }
      assertEquals(found.get("lm_head"), false);
      assertEquals(found.get("model.layers.1.mlp.up_proj"), false);
      assertEquals([...found.values()].filter(Boolean).length, 4 * 7 - 3);
    });
  });
}

Deno.test("stored layers of the golden folders are read, and nothing else is there", () => {
  for (const name of ["llama-awq", "llama-gptq"]) {
    const folder = `tests/fixtures/golden/${name}`;
    const config = readModelConfig(folder);
    using checkpoint = Checkpoint.open(folder, config);
    checkpoint.verify(config);
    assertEquals(checkpoint.dtype, "f16");
    const matrices = linearLayers(folder).map((layer) => checkpoint.quantized(layer.name, layer));
    assertEquals(matrices.filter((matrix) => matrix !== null).length, 4 * 7);
    // Groups in order need no table.
    assert(matrices.every((matrix) => (matrix?.groupOfInput ?? null) === null));
  }
});

/** Rewrites the only file of `folder` with `edit` applied to each tensor; null leaves it out. */
function rewrite(
  folder: string,
  edit: (tensor: SafetensorsTensor, bytes: Uint8Array<ArrayBuffer>) =>
    | { tensor: SafetensorsTensor; bytes: Uint8Array<ArrayBuffer> }
    | null,
): void {
  const file = `${folder}/model.safetensors`;
  const whole = Deno.readFileSync(file);
  const kept = [...readCheckpointFiles(folder).values()].flatMap((stored) => {
    const { byteOffset, byteLength } = stored;
    return edit(stored, whole.slice(byteOffset, byteOffset + byteLength)) ?? [];
  });
  using writer = new SafetensorsWriter(file, { tensors: kept.map(({ tensor }) => tensor) });
  for (const { bytes } of kept) writer.write(bytes);
  writer.finish();
}

const Q = "model.layers.2.self_attn.q_proj";

const FAULTS: readonly {
  readonly name: string;
  readonly scheme: Scheme;
  readonly tensor: string;
  readonly edit: Parameters<typeof rewrite>[1];
  readonly reason: string;
}[] = [
  {
    name: "missing scales",
    scheme: AWQ,
    tensor: `${Q}.scales`,
    edit: () => null,
    reason: "missing",
  },
  {
    name: "missing zeros of weights that are not centred",
    scheme: GPTQ,
    tensor: `${Q}.qzeros`,
    edit: () => null,
    reason: "missing",
  },
  {
    name: "missing groups of inputs in any order",
    scheme: { ...GPTQ, actOrder: true },
    tensor: `${Q}.g_idx`,
    edit: () => null,
    reason: "missing",
  },
  {
    name: "weights of the other layout",
    scheme: AWQ,
    tensor: `${Q}.qweight`,
    edit: (tensor, bytes) => ({ tensor: { ...tensor, shape: [8, 64] }, bytes }),
    reason: "its shape must be [64, 8]: it is [8, 64]",
  },
  {
    name: "zeros in bytes",
    scheme: GPTQ,
    tensor: `${Q}.qzeros`,
    edit: (tensor, bytes) => {
      const narrow = bytes.subarray(0, 16).slice();
      return { tensor: { ...tensor, dtype: "U8", byteLength: 16 }, bytes: narrow };
    },
    reason: "its type must be I32: it is U8",
  },
  {
    name: "scales as integers",
    scheme: AWQ,
    tensor: `${Q}.scales`,
    edit: (tensor, bytes) => ({ tensor: { ...tensor, dtype: "I16" }, bytes }),
    reason: "its type must be F16, BF16 or F32: it is I16",
  },
  {
    name: "scales of a group too many",
    scheme: { method: "compressed-tensors", bits: 8, groupSize: -1 },
    tensor: `${Q}.weight_scale`,
    edit: (tensor, bytes) => ({ tensor: { ...tensor, shape: [32, 2] }, bytes }),
    reason: "its shape must be [64, 1] or [64]: it is [32, 2]",
  },
];

for (const { name, scheme, tensor, edit, reason } of FAULTS) {
  Deno.test(`refused from the headers: ${name}`, () => {
    withFolder((folder) => {
      const folders = { quantized: `${folder}/q`, dequantized: `${folder}/d` };
      writeQuantized(LLAMA, folders, scheme);
      rewrite(
        folders.quantized,
        (stored, bytes) => stored.name === tensor ? edit(stored, bytes) : { tensor: stored, bytes },
      );
      const config = readModelConfig(folders.quantized);
      using checkpoint = Checkpoint.open(folders.quantized, config);
      const error = assertThrows(() => checkpoint.verify(config), ModelLoadError);
      assertEquals(error.tensor, tensor);
      for (const part of [tensor, folders.quantized, reason]) {
        assertStringIncludes(error.message, part);
      }
    });
  });
}

Deno.test("an input of a group that there is not is refused by its number", () => {
  withFolder((folder) => {
    const folders = { quantized: `${folder}/q`, dequantized: `${folder}/d` };
    for (const group of [2, -1]) {
      writeQuantized(LLAMA, folders, GPTQ);
      rewrite(folders.quantized, (tensor, bytes) => {
        if (tensor.name === `${Q}.g_idx`) new Int32Array(bytes.buffer)[5] = group;
        return { tensor, bytes };
      });
      const config = readModelConfig(folders.quantized);
      using checkpoint = Checkpoint.open(folders.quantized, config);
      const error = assertThrows(
        () => checkpoint.quantized(Q, { inFeatures: 64, outFeatures: 64 }),
        ModelLoadError,
        `between 0 and 1: that of input 5 is ${group}`,
      );
      assertEquals(error.tensor, `${Q}.g_idx`);
    }
  });
});

Deno.test("a bias that the model does not have may be there if it is zero", () => {
  withFolder((folder) => {
    const folders = { quantized: `${folder}/q`, dequantized: `${folder}/d` };
    for (const value of [0, 1]) {
      writeQuantized(LLAMA, folders, GPTQ);
      const file = `${folders.quantized}/model.safetensors`;
      const whole = Deno.readFileSync(file);
      const stored = [...readCheckpointFiles(folders.quantized).values()];
      const bias = { name: `${Q}.bias`, dtype: "F16", shape: [64], byteLength: 128 };
      using writer = new SafetensorsWriter(file, { tensors: [...stored, bias] });
      for (const { byteOffset, byteLength } of stored) {
        writer.write(whole.subarray(byteOffset, byteOffset + byteLength));
      }
      writer.write(new Float16Array(64).fill(value));
      writer.finish();
      const config = readModelConfig(folders.quantized);
      using checkpoint = Checkpoint.open(folders.quantized, config);
      if (value === 0) checkpoint.verify(config);
      else assertThrows(() => checkpoint.verify(config), ModelLoadError, `${Q}.bias`);
    }
  });
});

Deno.test("a layer that cannot be packed is refused with the sizes that work", () => {
  withFolder((folder) => {
    const folders = { quantized: `${folder}/q`, dequantized: `${folder}/d` };
    writeQuantized(LLAMA, folders, AWQ);
    const json = JSON.parse(Deno.readTextFileSync(`${folders.quantized}/config.json`));
    const config = parseModelConfig({ ...json, intermediate_size: 161 }, { source: "config" });
    using checkpoint = Checkpoint.open(folders.quantized, config);
    const error = assertThrows(() => checkpoint.verify(config), ModelLoadError);
    assertStringIncludes(error.message, "it has 161 output features, multiples of 8 work");
    assertEquals(error.tensor, "model.layers.0.mlp.gate_proj.qweight");
  });
});

Deno.test("made up integers have the deviation of made up floats, in every format", () => {
  for (
    const quantization_config of [
      { quant_method: "awq", bits: 4, group_size: 32 },
      { quant_method: "gptq", bits: 8, group_size: -1 },
      {
        quant_method: "gptq",
        bits: 4,
        group_size: 16,
        desc_act: true,
        checkpoint_format: "gptq_v2",
      },
    ]
  ) {
    const json = { ...presetConfig("tiny"), quantization_config };
    const config = parseModelConfig(json, { source: "tiny" });
    const weights = new DummyWeights(config);
    const layer = { name: "model.layers.1.mlp.down_proj", inFeatures: 160, outFeatures: 64 };
    const values = dequantize(weights.quantized(layer.name, layer)!);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    // Integers from -2^(bits - 1) to one less have their mean half a step below 0.
    const step = 0.02 * Math.sqrt(12) / 2 ** quantization_config.bits;
    assert(Math.abs(mean + step / 2) < 1e-3, String(mean));
    assert(Math.abs(Math.sqrt(squares / values.length) - 0.02) < 1e-3);
    assertEquals(weights.quantized("lm_head", { inFeatures: 64, outFeatures: 320 }), null);
    assertEquals(parameterCount(config), parameterCount({ ...config, quantization: null }));
  }
});
