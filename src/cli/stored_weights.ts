/**
 * The weights of a checkpoint as its headers tell.
 * @module
 */
import { readCheckpointFiles } from "../models/checkpoint_files.ts";
import type { ModelConfig } from "../models/model_config.ts";
import { familyOf } from "../models/registry.ts";

/** A weight as it is stored. */
export interface StoredWeight {
  /** Name that the model's code uses. */
  readonly name: string;
  /** Element type as the file spells it, such as `BF16`. */
  readonly dtype: string;
  /** Number of elements. */
  readonly elements: number;
  /** Bytes in the file. */
  readonly bytes: number;
}

/** The weights in `folder` that a model of this config reads; throws ModelLoadError for bad files. */
export function storedWeights(folder: string, config: ModelConfig): StoredWeight[] {
  const naming = familyOf(config).naming(config);
  return [...readCheckpointFiles(folder)]
    .map(([stored, { dtype, shape, byteLength }]) => ({
      name: naming.canonical(stored),
      dtype,
      elements: shape.reduce((product, size) => product * size, 1),
      bytes: byteLength,
    }))
    .filter(({ name }) => !naming.isIgnorable(name));
}
