/**
 * Builds one rank's part of a model.
 * @module
 */
import type { DeviceMesh } from "../distributed/device_mesh.ts";
import type { WeightSource } from "../layers/weight_source.ts";
import type { Device } from "../tensor/device.ts";
import type { KvDType, WeightDType } from "../tensor/dtype.ts";
import type { WeightOptions } from "../tensor/linear_kernels.ts";
import { CausalLm } from "./causal_lm.ts";
import type { ModelConfig } from "./model_config.ts";
import { stageOf, stagesByCost } from "./pipeline_stages.ts";
import { familyOf } from "./registry.ts";

/** Options of {@linkcode loadModel}. */
export interface LoadModelOptions {
  /** The model. */
  readonly config: ModelConfig;
  /** Its weights. */
  readonly weights: WeightSource;
  /** Where to compute. */
  readonly device: Device;
  /** This rank's place. */
  readonly mesh: DeviceMesh;
  /** Layers of each pipeline stage; cut by cost when left out. */
  readonly pipelineLayers?: readonly number[];
  /** Storage of linear weights; null keeps the checkpoint's. */
  readonly format: WeightDType | null;
  /** Quantises linear weights while they are loaded. */
  readonly quantization?: WeightOptions["quantization"];
  /** Type of the activations, as the device says; `f32` when left out. */
  readonly activationDtype?: WeightDType;
  /** How keys and values are kept; as activations are when left out. */
  readonly kvCacheDtype?: KvDType;
  /** Positions that a sequence may take. */
  readonly maxModelLen: number;
  /** Tokens of the largest step. */
  readonly maxRows: number;
  /** Rows of logits computed at once. */
  readonly maxLogitRows: number;
  /** Called after each layer with the fraction of this rank's layers that are there. */
  readonly onProgress?: (fraction: number) => void;
}

/** Builds this rank's part of a model, but for its KV cache. */
export function loadModel(options: LoadModelOptions): CausalLm {
  const { config, device, mesh, maxRows, onProgress, activationDtype = "f32" } = options;
  const { rank, size: stages } = mesh.pipelineParallel;
  const stage = stageOf(options.pipelineLayers ?? stagesByCost(config, stages), rank);
  let built = 0;
  const parts = familyOf(config).build({
    device,
    tensorParallel: mesh.tensorParallel,
    weights: options.weights,
    format: options.format,
    quantization: options.quantization,
    activationDtype,
    kvCacheDtype: options.kvCacheDtype,
    maxRows,
    config,
    stage,
    maxModelLen: options.maxModelLen,
    onLayer: () => onProgress?.(++built / (stage.endLayer - stage.firstLayer)),
  });
  const model = new CausalLm(parts, {
    device,
    tensorParallel: mesh.tensorParallel,
    pipelineParallel: mesh.pipelineParallel,
    hiddenSize: config.hiddenSize,
    activationDtype,
    maxRows,
    maxLogitRows: options.maxLogitRows,
  });
  // Kernels may read weights before the work that is queued ahead of them has ended.
  device.synchronize();
  return model;
}
