/**
 * Which tensors a checkpoint of each family holds, by their Hugging Face names: those that building the
 * model asks for, so there is no second account of them.
 * @module
 */
import { loadModel } from "./load_model.ts";
import { measuringDevice, placeInGroup } from "./measuring_device.ts";
import type { DeviceMesh } from "../distributed/device_mesh.ts";
import type { ModelConfig } from "./model_config.ts";
import type { NamedLayer } from "./quantized_layer.ts";

/** What a parameter is: a matrix, the scale of a norm, or something added. */
export type ParameterKind = "matrix" | "norm" | "bias";

/** A tensor that a checkpoint must hold. */
export interface ParameterShape {
  /** Name. GPT-2's carry the `transformer.` prefix, which stored names may lack. */
  readonly name: string;
  /** Sizes as stored: `[outFeatures, inFeatures]`, for GPT-2's layers the other way round. */
  readonly shape: readonly number[];
  /** What it is. */
  readonly kind: ParameterKind;
  /** The linear layer whose weight it is, null when it is none; such a weight may be stored quantised. */
  readonly layer: NamedLayer | null;
}

/**
 * Every tensor that a model of this config reads, as in a dense checkpoint.
 *
 * @example
 * ```ts
 * import { parameterShapes, readModelConfig } from "@weft/weft";
 * console.log(parameterShapes(readModelConfig("models/demo")).length); // 38
 * ```
 */
export function parameterShapes(config: ModelConfig): ParameterShape[] {
  const found = new Map<string, ParameterShape>();
  const layers = new Map<string, NamedLayer>();
  const mesh: Partial<DeviceMesh> = {
    tensorParallel: placeInGroup(0, 1),
    pipelineParallel: placeInGroup(0, 1),
  };
  using _model = loadModel({
    config,
    weights: {
      has: () => true,
      quantized(name, size) {
        layers.set(`${name}.weight`, { name, ...size });
        return null;
      },
      tensor(name, shape) {
        found.set(name, {
          name,
          shape,
          kind: kindOf(name, shape),
          layer: layers.get(name) ?? null,
        });
        return { address: 0n, dtype: "f32", shape };
      },
    },
    device: measuringDevice(),
    mesh: mesh as DeviceMesh,
    format: null,
    maxModelLen: 1,
    maxRows: 1,
    maxLogitRows: 1,
  });
  return [...found.values()];
}

/** Number of parameters of a model of this config; a tied output head counts once. */
export function parameterCount(config: ModelConfig): number {
  let count = 0;
  for (const { shape } of parameterShapes(config)) {
    count += shape.reduce((product, size) => product * size, 1);
  }
  return count;
}

function kindOf(name: string, shape: readonly number[]): ParameterKind {
  if (shape.length > 1) return "matrix";
  return name.endsWith(".bias") ? "bias" : "norm";
}
