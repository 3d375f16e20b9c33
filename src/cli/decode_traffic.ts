/**
 * How many bytes decoding reads: what its speed is held against.
 * @module
 */
import { keptBytes } from "../models/measuring_device.ts";
import type { ModelConfig } from "../models/model_config.ts";
import type { DeviceKind } from "../tensor/device.ts";
import type { WeightDType } from "../tensor/dtype.ts";
import type { StoredWeight } from "./stored_weights.ts";

/** Tables of which a step reads a row a token, unless the first is the output head too. */
const TOKEN_TABLES = ["model.embed_tokens.weight", "transformer.wte.weight"];
const POSITION_TABLE = "transformer.wpe.weight";

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
  for (const { name, elements, bytes } of weights) {
    if (name === POSITION_TABLE) continue;
    if (TOKEN_TABLES.includes(name) && !tieWordEmbeddings) continue;
    const read = step.format === null
      ? bytes
      : elements * keptBytes(step.device, bytes / elements, step.format);
    const visited = experts && name.includes(".experts.")
      ? Math.min(1, step.batch * experts.expertsPerToken / experts.numExperts)
      : 1;
    weightBytes += read * visited;
  }
  return weightBytes / step.batch + step.kvBytesPerToken * step.context;
}
