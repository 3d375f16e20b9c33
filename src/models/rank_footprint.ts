/**
 * What each rank of a layout holds, found by building its part of the model on a device that only
 * measures: the layers that own the sharding say it, so there is no second account of it.
 * @module
 */
import type { DeviceMesh } from "../distributed/device_mesh.ts";
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import type { DeviceKind } from "../tensor/device.ts";
import type { KvDType, WeightDType } from "../tensor/dtype.ts";
import type { WeightOptions } from "../tensor/linear_kernels.ts";
import { loadModel } from "./load_model.ts";
import { measuringDevice, placeInGroup } from "./measuring_device.ts";
import type { ModelConfig } from "./model_config.ts";
import { stageOf, stagesByCost } from "./pipeline_stages.ts";
import { announcesLayer, unreadMatrix } from "./quantized_layer.ts";

/** How tensors are stored, by the names that the model's code uses. */
export interface StoredTypes {
  /** Type of a dense tensor. */
  readonly dtypeOf: (name: string) => WeightDType;
  /** Whether a linear layer is quantised. */
  readonly isQuantized: (layer: string) => boolean;
}

/** How the tensors of a checkpoint are stored as far as its config announces it. */
export function announcedTypes({ dtype, quantization }: ModelConfig): StoredTypes {
  return {
    dtypeOf: () => dtype,
    isQuantized: (layer) => quantization !== null && announcesLayer(quantization, layer),
  };
}

/** Options of {@linkcode rankFootprints}. */
export interface RankFootprintOptions {
  /** Ranks that share each layer. */
  readonly tensorParallelSize: number;
  /** Pipeline stages. */
  readonly pipelineParallelSize: number;
  /** Layers of each stage; cut by cost when left out. */
  readonly pipelineLayers?: readonly number[];
  /** Backend that is to hold it. */
  readonly device: DeviceKind;
  /** Storage of linear weights; null keeps the checkpoint's. */
  readonly format: WeightDType | null;
  /** Type of the activations. */
  readonly activationDtype: WeightDType;
  /** How keys and values are kept; as activations are when left out. */
  readonly kvCacheDtype?: KvDType;
  /** Quantises linear weights while they are loaded. */
  readonly quantization: WeightOptions["quantization"];
  /** How the checkpoint's tensors are stored. */
  readonly stored: StoredTypes;
  /** Tokens of the largest step. */
  readonly maxRows: number;
  /** Rows of logits computed at once. */
  readonly maxLogitRows: number;
}

/** What one rank holds. */
export interface RankFootprint {
  /** Pipeline stage. */
  readonly pipelineStage: number;
  /** Place among the ranks that share each layer. */
  readonly tensorRank: number;
  /** First layer. */
  readonly firstLayer: number;
  /** One past the last layer. */
  readonly endLayer: number;
  /** Bytes of weights that the rank reads. */
  readonly weightBytes: number;
  /** Bytes of activations and logits. */
  readonly bufferBytes: number;
  /** Bytes of keys and values of one token. */
  readonly kvBytesPerToken: number;
}

/**
 * What each rank of a layout holds, tensor-parallel ranks of the first stage first. Reads no weight.
 *
 * @throws {RangeError} when the layout does not fit the model.
 */
export function rankFootprints(
  config: ModelConfig,
  options: RankFootprintOptions,
): RankFootprint[] {
  const { pipelineParallelSize, tensorParallelSize } = options;
  const pipelineLayers = options.pipelineLayers ?? stagesByCost(config, pipelineParallelSize);
  const footprints: RankFootprint[] = [];
  for (let stage = 0; stage < pipelineParallelSize; stage++) {
    for (let rank = 0; rank < tensorParallelSize; rank++) {
      footprints.push(measureRank(config, { ...options, pipelineLayers, stage, rank }));
    }
  }
  return footprints;
}

/** Bytes of keys and values of one block, over all ranks; heads that several ranks hold count for each. */
export function kvBytesPerBlock(footprints: readonly RankFootprint[]): number {
  return KV_BLOCK_SIZE * footprints.reduce((sum, rank) => sum + rank.kvBytesPerToken, 0);
}

function measureRank(
  config: ModelConfig,
  options: RankFootprintOptions & {
    readonly pipelineLayers: readonly number[];
    readonly stage: number;
    readonly rank: number;
  },
): RankFootprint {
  const { stage, rank, tensorParallelSize, pipelineParallelSize, pipelineLayers, stored } = options;
  const total = { weightBytes: 0, bufferBytes: 0, kvBytes: 0 };
  const mesh: Partial<DeviceMesh> = {
    tensorParallel: placeInGroup(rank, tensorParallelSize),
    pipelineParallel: placeInGroup(stage, pipelineParallelSize),
  };
  const { firstLayer, endLayer } = stageOf(pipelineLayers, stage);
  using model = loadModel({
    config,
    weights: {
      has: () => true,
      quantized: (name, size) =>
        config.quantization && stored.isQuantized(name)
          ? unreadMatrix(config.quantization, { name, ...size }, config.dtype)
          : null,
      tensor: (name, shape) => ({ address: 0n, dtype: stored.dtypeOf(name), shape }),
    },
    device: measuringDevice(total, options.device),
    mesh: mesh as DeviceMesh,
    pipelineLayers,
    format: options.format,
    quantization: options.quantization,
    activationDtype: options.activationDtype,
    kvCacheDtype: options.kvCacheDtype,
    maxModelLen: 1,
    maxRows: options.maxRows,
    maxLogitRows: options.maxLogitRows,
  });
  model.allocateCache(1);
  return {
    pipelineStage: stage,
    tensorRank: rank,
    firstLayer,
    endLayer,
    weightBytes: total.weightBytes,
    bufferBytes: total.bufferBytes,
    kvBytesPerToken: total.kvBytes / KV_BLOCK_SIZE,
  };
}
