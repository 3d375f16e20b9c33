/**
 * The tensors in which a quantised linear layer is stored, and the weight that they make.
 *
 * Sources: the layouts that AutoAWQ, AutoGPTQ and compressed-tensors write.
 * @module
 */
import type { LinearSize } from "../layers/weight_source.ts";
import type { WeightDType } from "../tensor/dtype.ts";
import { type QuantizedMatrix, wholeSlice } from "../tensor/linear_kernels.ts";
import type { QuantizationConfig } from "./quantization_config.ts";

/** A linear layer of a model. */
export interface NamedLayer extends LinearSize {
  /** Prefix of its tensors. */
  readonly name: string;
}

/** A tensor of a quantised layer, as it must be stored. */
export interface LayerTensor {
  /** Name. */
  readonly name: string;
  /** Types that it may have, as files spell them. */
  readonly dtypes: readonly string[];
  /** Shapes that it may have. */
  readonly shapes: readonly (readonly number[])[];
  /** Whether it may be missing. */
  readonly optional: boolean;
}

/** The tensors of a quantised layer; null: its format has none of that kind. */
export interface LayerTensors {
  /** The weights. */
  readonly values: LayerTensor;
  /** Their scales. */
  readonly scales: LayerTensor;
  /** Their zeros. */
  readonly zeros: LayerTensor | null;
  /** The group of each input feature. */
  readonly groups: LayerTensor | null;
}

/** Where a stored tensor lies in host memory. */
export interface StoredLayerTensor {
  /** Host address of the first element. */
  readonly address: bigint;
  /** Element type as files spell it. */
  readonly dtype: string;
  /** Whether it lies in a mapped file (`QuantizedMatrix.mapped`). */
  readonly mapped?: boolean;
}

/** Bits of a packed element. */
const WORD = 32;

/** Stored types of scales. */
const SCALE_DTYPES: Readonly<Record<string, WeightDType>> = {
  F16: "f16",
  BF16: "bf16",
  F32: "f32",
};

/** Name of the tensor of weights that a quantised layer `name` has. */
export function valuesName({ method }: QuantizationConfig, name: string): string {
  return method === "compressed-tensors" ? `${name}.weight` : `${name}.qweight`;
}

/** Whether a tensor called {@linkcode valuesName}, of this type, holds quantised weights. */
export function holdsValues({ method }: QuantizationConfig, dtype: string): boolean {
  return method !== "compressed-tensors" || dtype === "I8";
}

/** Whether `quantization` means the layer `name`, as far as the config says it. */
export function announcesLayer({ denseLayers }: QuantizationConfig, name: string): boolean {
  return name !== "lm_head" && !denseLayers.some((part) => name.includes(part));
}

/** The tensors of a layer; throws RangeError naming it when its size cannot be packed. */
export function layerTensors(quantization: QuantizationConfig, layer: NamedLayer): LayerTensors {
  const { method, bits, symmetric, reordered } = quantization;
  const { name, inFeatures, outFeatures } = layer;
  const tensor = (suffix: string, dtypes: readonly string[], ...shapes: readonly number[][]) => ({
    name: `${name}.${suffix}`,
    dtypes,
    shapes,
    optional: false,
  });
  const floats = Object.keys(SCALE_DTYPES);
  if (method === "compressed-tensors") {
    return {
      values: tensor("weight", ["I8"], [outFeatures, inFeatures]),
      scales: tensor("weight_scale", floats, [outFeatures, 1], [outFeatures]),
      zeros: null,
      groups: null,
    };
  }
  const perWord = WORD / bits;
  const packed = (features: number, kind: string): number => {
    if (features % perWord === 0) return features / perWord;
    throw new RangeError(
      `Cannot pack layer ${name} as ${method} packs ${perWord} weights of ${bits} bits in a word: ` +
        `it has ${features} ${kind} features, multiples of ${perWord} work`,
    );
  };
  const groups = Math.ceil(inFeatures / groupSizeOf(quantization, layer));
  const zeros = tensor("qzeros", ["I32"], [groups, packed(outFeatures, "output")]);
  const groupOfInput = tensor("g_idx", ["I32"], [inFeatures]);
  return {
    values: method === "awq"
      ? tensor("qweight", ["I32"], [inFeatures, packed(outFeatures, "output")])
      : tensor("qweight", ["I32"], [packed(inFeatures, "input"), outFeatures]),
    scales: tensor("scales", floats, [groups, outFeatures]),
    zeros: { ...zeros, optional: symmetric },
    groups: method === "awq" ? null : { ...groupOfInput, optional: !reordered },
  };
}

/**
 * The weight of a layer: `find` gives each of its tensors, null for an optional one that is not there.
 * `refuse` throws, saying what is wrong with a tensor.
 */
export function quantizedMatrix(
  quantization: QuantizationConfig,
  layer: NamedLayer,
  source: {
    readonly find: (tensor: LayerTensor) => StoredLayerTensor | null;
    readonly refuse: (tensor: LayerTensor, reason: string) => never;
  },
): QuantizedMatrix {
  const { inFeatures, outFeatures } = layer;
  const { method, bits, zeroOffset } = quantization;
  const groupSize = groupSizeOf(quantization, layer);
  const tensors = layerTensors(quantization, layer);
  const values = source.find(tensors.values)!;
  const scales = source.find(tensors.scales)!;
  const { zeros, groups } = tensors;
  return {
    dtype: bits === 8 ? "int8" : "int4",
    packing: method === "compressed-tensors" ? "signed" : method,
    values: values.address,
    mapped: values.mapped,
    scales: { address: scales.address, dtype: SCALE_DTYPES[scales.dtype] },
    zeros: zeros && (source.find(zeros)?.address ?? null),
    zeroOffset,
    groupOfInput: groups && readGroups(groups, { inFeatures, groupSize, ...source }),
    groupSize,
    ...wholeSlice(outFeatures, inFeatures),
  };
}

/** The weight of a layer that is only to be measured: it has a size and no memory. */
export function unreadMatrix(
  quantization: QuantizationConfig,
  layer: NamedLayer,
  scaleDtype: WeightDType,
): QuantizedMatrix {
  const { groups } = layerTensors(quantization, layer);
  return quantizedMatrix(quantization, layer, {
    find: ({ name }) =>
      name === groups?.name ? null : { address: 0n, dtype: scaleDtype.toUpperCase() },
    refuse: ({ name }, reason) => {
      throw new RangeError(`Cannot measure ${name} as ${reason}`);
    },
  });
}

/** Address of the groups of the inputs; null where they are in order. */
function readGroups(
  tensor: LayerTensor,
  options: {
    readonly inFeatures: number;
    readonly groupSize: number;
    readonly find: (tensor: LayerTensor) => StoredLayerTensor | null;
    readonly refuse: (tensor: LayerTensor, reason: string) => never;
  },
): bigint | null {
  const { inFeatures, groupSize } = options;
  const stored = options.find(tensor);
  if (stored === null) return null;
  const pointer = Deno.UnsafePointer.create(stored.address)!;
  const groups = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(pointer, inFeatures * 4));
  const count = Math.ceil(inFeatures / groupSize);
  const wrong = groups.findIndex((group) => group < 0 || group >= count);
  if (wrong >= 0) {
    options.refuse(
      tensor,
      `the group of each input must lie between 0 and ${count - 1}: that of input ${wrong} is ${
        groups[wrong]
      }`,
    );
  }
  const inOrder = groups.every((group, input) => group === Math.floor(input / groupSize));
  return inOrder ? null : stored.address;
}

function groupSizeOf({ groupSize }: QuantizationConfig, { inFeatures }: LinearSize): number {
  return groupSize ?? inFeatures;
}
