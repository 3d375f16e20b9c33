/**
 * The weights of a model as they are stored.
 * @module
 */
import type { EngineConfig } from "../engine/engine_config.ts";
import { readCheckpointFiles } from "../models/checkpoint_files.ts";
import type { ModelConfig } from "../models/model_config.ts";
import { parameterShapes } from "../models/parameter_shapes.ts";
import { announcesLayer, layerTensors } from "../models/quantized_layer.ts";
import { familyOf } from "../models/registry.ts";
import { storedTypeBytes } from "../models/safetensors.ts";
import { dtypeBytes } from "../tensor/dtype.ts";

/** A weight as it is stored. */
export interface StoredWeight {
  /** Name that the model's code uses. */
  readonly name: string;
  /** Element type as the file spells it, such as `BF16`. */
  readonly dtype: string;
  /** Whether it is the weight of a linear layer. */
  readonly isLinear: boolean;
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
  const { dtype, quantization } = config;
  return parameterShapes(config).flatMap(({ name, shape, layer }) => {
    const isLinear = layer !== null;
    if (quantization && layer && announcesLayer(quantization, layer.name)) {
      return Object.values(layerTensors(quantization, layer))
        .filter((tensor) => tensor !== null)
        .map(({ name, shapes: [shape], dtypes: [dtype] }) => {
          const elements = elementsOf(shape);
          return { name, dtype, isLinear, elements, bytes: elements * storedTypeBytes(dtype) };
        });
    }
    const elements = elementsOf(shape);
    const bytes = elements * dtypeBytes(dtype);
    return [{ name, dtype: dtype.toUpperCase(), isLinear, elements, bytes }];
  });
}

function filedWeights(folder: string, config: ModelConfig): StoredWeight[] {
  const naming = familyOf(config).naming(config);
  const linear = new Set(
    parameterShapes(config).filter(({ layer }) => layer !== null).map(({ name }) => name),
  );
  return [...readCheckpointFiles(folder)]
    .map(([stored, { dtype, shape, byteLength }]) => {
      const name = naming.canonical(stored);
      return {
        name,
        dtype,
        isLinear: linear.has(name),
        elements: elementsOf(shape),
        bytes: byteLength,
      };
    })
    .filter(({ name }) => !naming.isIgnorable(name));
}

function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
