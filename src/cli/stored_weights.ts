/**
 * The weights of a model as they are stored.
 * @module
 */
import type { EngineConfig } from "../engine/engine_config.ts";
import { readCheckpointFiles } from "../models/checkpoint_files.ts";
import type { ModelConfig } from "../models/model_config.ts";
import { parameterShapes } from "../models/parameter_shapes.ts";
import { familyOf } from "../models/registry.ts";
import { dtypeBytes } from "../tensor/dtype.ts";

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

/** The weights that an engine reads, or makes up; throws ModelLoadError for bad files. */
export function storedWeights(
  { model, modelConfig, loadFormat }: Pick<EngineConfig, "model" | "modelConfig" | "loadFormat">,
): StoredWeight[] {
  return loadFormat === "dummy" ? dummyWeights(modelConfig) : filedWeights(model, modelConfig);
}

function dummyWeights(config: ModelConfig): StoredWeight[] {
  return parameterShapes(config).map(({ name, shape }) => {
    const elements = shape.reduce((product, size) => product * size, 1);
    const bytes = elements * dtypeBytes(config.dtype);
    return { name, dtype: config.dtype.toUpperCase(), elements, bytes };
  });
}

function filedWeights(folder: string, config: ModelConfig): StoredWeight[] {
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
