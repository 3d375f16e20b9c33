/**
 * Parts of config.json that the families share.
 * @module
 */
import type { WeightDType } from "../tensor/dtype.ts";
import type { ConfigReader } from "./config_reader.ts";
import type { ModelConfig } from "./model_config.ts";

/**
 * Bounds of the sizes, far above any published model: the products of sizes that are computed from a
 * config stay exact integers.
 */
export const LIMITS = {
  vocabSize: { min: 1, max: 2 ** 24 },
  hiddenSize: { min: 1, max: 2 ** 17 },
  intermediateSize: { min: 1, max: 2 ** 20 },
  layers: { min: 1, max: 1024 },
  heads: { min: 1, max: 4096 },
  headDim: { min: 1, max: 1024 },
  positions: { min: 1, max: 2 ** 27 },
  window: { min: 1, max: 2 ** 27 },
  experts: { min: 1, max: 1024 },
  epsilon: { min: 0, max: 0.1 },
} as const;

const DTYPES: Readonly<Record<string, WeightDType>> = {
  float32: "f32",
  float16: "f16",
  bfloat16: "bf16",
};

/** Reads the keys that mean the same in every family. */
export function readCommon(
  reader: ConfigReader,
): Pick<ModelConfig, "vocabSize" | "dtype" | "bosTokenId" | "eosTokenIds"> {
  const bosTokenIds = reader.tokenIds("bos_token_id");
  if (bosTokenIds.length > 1) reader.refuse("bos_token_id", "is not a single token id");
  return {
    vocabSize: reader.integer("vocab_size", LIMITS.vocabSize),
    dtype: readDType(reader),
    bosTokenId: bosTokenIds[0] ?? null,
    eosTokenIds: reader.tokenIds("eos_token_id"),
  };
}

/** Storage type, in both spellings. */
function readDType(reader: ConfigReader): WeightDType {
  const oldName = reader.string("torch_dtype");
  const newName = reader.string("dtype");
  if (oldName !== null && newName !== null && oldName !== newName) {
    reader.refuse("dtype", `contradicts the key "torch_dtype" (${oldName})`);
  }
  return reader.choice(newName === null ? "torch_dtype" : "dtype", DTYPES, "float32");
}

/**
 * Checks `layer_types`, if present, against the `windows` that the other keys give each layer. Where
 * `layerTypesDecide`, the list is followed instead, with `window` on its sliding layers.
 */
export function readLayerWindows(
  reader: ConfigReader,
  options: { windows: number[]; window: number; layerTypesDecide?: boolean },
): number[] {
  const { windows, window, layerTypesDecide = false } = options;
  const types = reader.strings("layer_types");
  if (types === null) return windows;
  if (types.length !== windows.length) {
    reader.refuse("layer_types", `must have one entry for each of ${windows.length} layers`);
  }
  const listed = types.map((type) => {
    if (type === "full_attention") return 0;
    if (type === "sliding_attention" && window > 0) return window;
    return reader.refuse(
      "layer_types",
      window > 0
        ? "is implemented only as full_attention and sliding_attention"
        : "is implemented only as full_attention where there is no sliding window",
    );
  });
  if (!layerTypesDecide && listed.some((value, layer) => value !== windows[layer])) {
    reader.refuse("layer_types", 'contradicts the key "sliding_window"');
  }
  return listed;
}
