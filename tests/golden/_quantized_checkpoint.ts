/** Quantised checkpoints made of dense ones, and the dense ones that they stand for. */
import { Checkpoint } from "../../src/models/checkpoint.ts";
import { readModelConfig } from "../../src/models/model_config.ts";
import { parameterShapes } from "../../src/models/parameter_shapes.ts";
import { SafetensorsWriter } from "../../src/models/safetensors_writer.ts";
import type { WeightDType } from "../../src/tensor/dtype.ts";

/** How to quantise. */
export interface Scheme {
  readonly method: "awq" | "gptq" | "compressed-tensors";
  readonly bits: 4 | 8;
  /** Inputs of a group; -1 all. */
  readonly groupSize: number;
  /** Half the range stands for 0. */
  readonly symmetric?: boolean;
  /** Writes no zeros. */
  readonly withoutZeros?: boolean;
  /** Assigns inputs to groups at random. */
  readonly actOrder?: boolean;
  /** Stores GPTQ's zeros as they are. */
  readonly version2?: boolean;
  /** Layers that stay dense: parts of their names. */
  readonly dense?: readonly string[];
  /** Files to write. */
  readonly shards?: number;
}

interface Stored {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView<ArrayBuffer>;
}

/** A layer in integers. */
interface IntegerLayer {
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** `[inFeatures, outFeatures]`, unsigned (signed for compressed-tensors). */
  readonly values: Int32Array;
  /** `[groups, outFeatures]`. */
  readonly scales: Float16Array<ArrayBuffer>;
  readonly zeros: Int32Array;
  readonly groupOfInput: Int32Array<ArrayBuffer>;
}

/** Writes `source` to the folders `quantized`, by `scheme`, and `dequantized`, as f32. */
export function writeQuantized(
  source: string,
  folders: { readonly quantized: string; readonly dequantized: string },
  scheme: Scheme,
): void {
  const config = readModelConfig(source);
  using checkpoint = Checkpoint.open(source, config);
  const quantized: Stored[] = [];
  const dense: Stored[] = [];
  for (const { name, shape, layer, kind } of parameterShapes(config)) {
    const { address, dtype } = checkpoint.tensor(name, shape);
    const values = readFloats(address, shape.reduce((a, b) => a * b), dtype);
    const isDense = !layer || name === "lm_head.weight" ||
      scheme.dense?.some((part) => name.includes(part));
    if (!layer || isDense) {
      const narrow = { name, dtype: "F16", shape, data: new Float16Array(values) };
      quantized.push(kind === "norm" ? { name, dtype: "F32", shape, data: values } : narrow);
      const rounded = kind === "norm" ? values : Float32Array.from(narrow.data);
      dense.push({ name, dtype: "F32", shape, data: rounded });
      continue;
    }
    const transposed = shape[0] !== layer.outFeatures || config.modelType === "gpt2";
    const integers = quantize(values, { ...layer, transposed }, scheme);
    quantized.push(...pack(layer.name, integers, scheme));
    dense.push({ name, dtype: "F32", shape, data: dequantize(integers, transposed) });
  }
  const json = JSON.parse(Deno.readTextFileSync(`${source}/config.json`));
  writeFolder(folders.dequantized, { ...json, torch_dtype: "float32" }, [dense]);
  const { shards = 1 } = scheme;
  const perShard = Math.ceil(quantized.length / shards);
  writeFolder(
    folders.quantized,
    { ...json, torch_dtype: "float16", quantization_config: configOf(scheme) },
    Array.from({ length: shards }, (_, i) => quantized.slice(i * perShard, (i + 1) * perShard)),
  );
}

function configOf({ method, bits, groupSize, symmetric = false, ...scheme }: Scheme) {
  switch (method) {
    case "awq":
      return {
        quant_method: "awq",
        bits,
        group_size: groupSize,
        zero_point: !symmetric,
        version: "gemm",
        modules_to_not_convert: scheme.dense ?? null,
      };
    case "gptq":
      return {
        quant_method: "gptq",
        bits,
        group_size: groupSize,
        sym: symmetric,
        desc_act: scheme.actOrder ?? false,
        ...scheme.version2 ? { checkpoint_format: "gptq_v2" } : {},
      };
    case "compressed-tensors": {
      const integers = { num_bits: 8, type: "int", symmetric: true };
      return {
        quant_method: "compressed-tensors",
        format: "int-quantized",
        ignore: ["lm_head", ...scheme.dense ?? []],
        config_groups: {
          group_0: {
            targets: ["Linear"],
            weights: { ...integers, strategy: "channel", dynamic: false },
            input_activations: { ...integers, strategy: "token", dynamic: true },
          },
        },
      };
    }
  }
}

function quantize(
  weights: Float32Array,
  layer: { inFeatures: number; outFeatures: number; transposed: boolean },
  scheme: Scheme,
): IntegerLayer {
  const { inFeatures, outFeatures, transposed } = layer;
  const { bits, symmetric = false, method } = scheme;
  const signed = method === "compressed-tensors";
  const groupSize = scheme.groupSize === -1 ? inFeatures : scheme.groupSize;
  const groups = Math.ceil(inFeatures / groupSize);
  const groupOfInput = Int32Array.from({ length: inFeatures }, (_, k) => Math.floor(k / groupSize));
  if (scheme.actOrder) shuffle(groupOfInput, inFeatures + outFeatures);
  const at = (o: number, k: number) =>
    weights[transposed ? k * outFeatures + o : o * inFeatures + k];
  const scales = new Float16Array(groups * outFeatures);
  const zeros = new Int32Array(groups * outFeatures);
  const values = new Int32Array(inFeatures * outFeatures);
  const half = 2 ** (bits - 1);
  for (let group = 0; group < groups; group++) {
    for (let o = 0; o < outFeatures; o++) {
      let [least, most] = [0, 0];
      for (let k = 0; k < inFeatures; k++) {
        if (groupOfInput[k] !== group) continue;
        least = Math.min(least, at(o, k));
        most = Math.max(most, at(o, k));
      }
      const i = group * outFeatures + o;
      const centred = symmetric || signed;
      scales[i] = centred
        ? Math.max(-least, most, 1e-4) / (half - 1)
        : Math.max(most - least, 1e-4) / (2 ** bits - 1);
      zeros[i] = signed ? 0 : symmetric ? half : Math.round(-least / scales[i]);
      // The first format of GPTQ has no place for a zero of 0.
      if (!centred) zeros[i] = Math.max(1, Math.min(2 ** bits - 1, zeros[i]));
    }
  }
  for (let k = 0; k < inFeatures; k++) {
    for (let o = 0; o < outFeatures; o++) {
      const i = groupOfInput[k] * outFeatures + o;
      const value = Math.round(at(o, k) / scales[i]) + zeros[i];
      values[k * outFeatures + o] = signed
        ? Math.max(-half, Math.min(half - 1, value))
        : Math.max(0, Math.min(2 ** bits - 1, value));
    }
  }
  return { outFeatures, inFeatures, values, scales, zeros, groupOfInput };
}

function dequantize(layer: IntegerLayer, transposed: boolean): Float32Array<ArrayBuffer> {
  const { outFeatures, inFeatures, values, scales, zeros, groupOfInput } = layer;
  const weights = new Float32Array(values.length);
  for (let k = 0; k < inFeatures; k++) {
    for (let o = 0; o < outFeatures; o++) {
      const i = groupOfInput[k] * outFeatures + o;
      const weight = (values[k * outFeatures + o] - zeros[i]) * scales[i];
      weights[transposed ? k * outFeatures + o : o * inFeatures + k] = weight;
    }
  }
  return weights;
}

/** Places of eight outputs in an i32 of AWQ, from its lowest bits on. */
const AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7];

function pack(name: string, layer: IntegerLayer, scheme: Scheme): Stored[] {
  const { outFeatures, inFeatures, values, scales, zeros, groupOfInput } = layer;
  const { bits, method } = scheme;
  const groups = scales.length / outFeatures;
  if (method === "compressed-tensors") {
    const bytes = new Int8Array(values.length);
    values.forEach((value, i) => {
      const [k, o] = [Math.floor(i / outFeatures), i % outFeatures];
      bytes[o * inFeatures + k] = value;
    });
    return [
      { name: `${name}.weight`, dtype: "I8", shape: [outFeatures, inFeatures], data: bytes },
      { name: `${name}.weight_scale`, dtype: "F16", shape: [outFeatures, 1], data: scales },
    ];
  }
  const perWord = 32 / bits;
  const order = method === "awq" ? AWQ_ORDER : Array.from({ length: perWord }, (_, i) => i);
  const offset = method === "gptq" && !scheme.version2 ? 1 : 0;
  const packRows = (source: Int32Array, rows: number, minus: number) => {
    const words = new Int32Array(rows * outFeatures / perWord);
    words.forEach((_, word) => {
      order.forEach((place, i) => {
        words[word] |= (source[word * perWord + place] - minus) << (bits * i);
      });
    });
    return words;
  };
  const packColumns = () => {
    const words = new Int32Array(inFeatures / perWord * outFeatures);
    values.forEach((value, i) => {
      const [k, o] = [Math.floor(i / outFeatures), i % outFeatures];
      words[Math.floor(k / perWord) * outFeatures + o] |= value << (bits * (k % perWord));
    });
    return words;
  };
  const stored: Stored[] = [
    method === "awq"
      ? {
        name: `${name}.qweight`,
        dtype: "I32",
        shape: [inFeatures, outFeatures / perWord],
        data: packRows(values, inFeatures, 0),
      }
      : {
        name: `${name}.qweight`,
        dtype: "I32",
        shape: [inFeatures / perWord, outFeatures],
        data: packColumns(),
      },
    { name: `${name}.scales`, dtype: "F16", shape: [groups, outFeatures], data: scales },
  ];
  if (!scheme.withoutZeros) {
    const shape = [groups, outFeatures / perWord];
    const data = packRows(zeros, groups, offset);
    stored.push({ name: `${name}.qzeros`, dtype: "I32", shape, data });
  }
  if (method === "gptq") {
    stored.push({ name: `${name}.g_idx`, dtype: "I32", shape: [inFeatures], data: groupOfInput });
  }
  return stored;
}

function writeFolder(folder: string, config: unknown, shards: readonly Stored[][]): void {
  Deno.mkdirSync(folder, { recursive: true });
  Deno.writeTextFileSync(`${folder}/config.json`, JSON.stringify(config));
  const weightMap: Record<string, string> = {};
  shards.forEach((tensors, i) => {
    const file = shards.length === 1 ? "model.safetensors" : `model-${i}.safetensors`;
    using writer = new SafetensorsWriter(`${folder}/${file}`, {
      tensors: tensors.map((tensor) => ({ ...tensor, byteLength: tensor.data.byteLength })),
    });
    for (const { name, data } of tensors) {
      writer.write(data);
      weightMap[name] = file;
    }
    writer.finish();
  });
  if (shards.length === 1) return;
  const index = JSON.stringify({ weight_map: weightMap });
  Deno.writeTextFileSync(`${folder}/model.safetensors.index.json`, index);
}

function readFloats(
  address: bigint,
  count: number,
  dtype: WeightDType,
): Float32Array<ArrayBuffer> {
  const bytes = count * (dtype === "f32" ? 4 : 2);
  const buffer = Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, bytes);
  if (dtype === "f32") return new Float32Array(buffer).slice();
  if (dtype === "f16") return Float32Array.from(new Float16Array(buffer));
  const words = Uint32Array.from(new Uint16Array(buffer), (half) => half << 16);
  return new Float32Array(words.buffer);
}

function shuffle(values: Int32Array, seed: number): void {
  let state = seed;
  for (let i = values.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = state % (i + 1);
    [values[i], values[j]] = [values[j], values[i]];
  }
}
