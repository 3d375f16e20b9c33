/**
 * How many bytes decoding reads: what its speed is held against.
 * @module
 */
import { integerBytes, keptBytes } from "../models/measuring_device.ts";
import type { ModelConfig } from "../models/model_config.ts";
import type { DeviceKind } from "../tensor/device.ts";
import type { WeightDType } from "../tensor/dtype.ts";
import type { StoredWeight } from "./stored_weights.ts";

/** Tables of which a step reads a row a token, unless the first is the output head too. */
const TOKEN_TABLES = ["model.embed_tokens.weight", "transformer.wte.weight"];
const POSITION_TABLE = "transformer.wpe.weight";
const HEAD = "lm_head.weight";

/** Stored types that a device may convert; others it multiplies as they are. */
const FLOATS = ["F32", "F16", "BF16"];

/** What a decode step looks like. */
export interface DecodeStep {
  /** Sequences that decode together on one replica. */
  readonly batch: number;
  /** Cached positions of each sequence. */
  readonly context: number;
  /** Bytes of keys and values of one position, over all ranks. */
  readonly kvBytesPerToken: number;
  /** What keeps the weights. */
  readonly device: DeviceKind;
  /** Storage of linear weights; null keeps the checkpoint's. */
  readonly format: WeightDType | null;
  /** Quantises linear weights while they are loaded. */
  readonly quantization?: "int8" | "int4";
}

/**
 * Bytes that one generated token costs: its share of the weights that the step reads, and its
 * cached keys and values. Of a mixture's experts, as many count as the batch can visit at most.
 */
export function bytesReadPerToken(
  config: ModelConfig,
  weights: readonly StoredWeight[],
  step: DecodeStep,
): number {
  const { experts, tieWordEmbeddings } = config;
  let weightBytes = 0;
  for (const weight of weights) {
    const { name } = weight;
    if (name === POSITION_TABLE) continue;
    if (TOKEN_TABLES.includes(name) && !tieWordEmbeddings) continue;
    const read = bytesRead(weight, step);
    const visited = experts && name.includes(".experts.")
      ? Math.min(1, step.batch * experts.expertsPerToken / experts.numExperts)
      : 1;
    weightBytes += read * visited;
  }
  return weightBytes / step.batch + step.kvBytesPerToken * step.context;
}

/** Bytes that a product with a weight reads. */
function bytesRead(weight: StoredWeight, step: DecodeStep): number {
  const { elements, bytes } = weight;
  const isTable = TOKEN_TABLES.includes(weight.name);
  if (step.quantization !== undefined && (weight.isLinear || isTable)) {
    const isHead = isTable || weight.name === HEAD;
    return integerBytes(elements, isHead ? "int8" : step.quantization, step.device);
  }
  if (step.format === null || !FLOATS.includes(weight.dtype)) return bytes;
  return elements * keptBytes(step.device, bytes / elements, step.format);
}
