/**
 * What a checkpoint is and how a layout divides it, for `weft inspect`.
 * @module
 */
import { describeQuantization } from "../engine/describe_weights.ts";
import { type EngineConfig, resolveEngineConfig } from "../engine/engine_config.ts";
import {
  engineFootprints,
  rankBytes,
  replicasBytes,
  verifyMemory,
} from "../engine/engine_memory.ts";
import { describeCut } from "../engine/pipeline_cut.ts";
import type { EngineOptions } from "../engine/types.ts";
import { Checkpoint } from "../models/checkpoint.ts";
import { parameterCount, parameterShapes } from "../models/parameter_shapes.ts";
import { announcedTypes, type RankFootprint, type StoredTypes } from "../models/rank_footprint.ts";
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import type { WeightDType } from "../tensor/dtype.ts";
import { CapacityError } from "../tensor/errors.ts";
import { storedWeights } from "./stored_weights.ts";

/** A checkpoint in a layout. */
export interface ModelReport {
  /** Folder. */
  readonly folder: string;
  /** First entry of `architectures`. */
  readonly architecture: string;
  /** Number of parameters; a tied output head counts once. */
  readonly parameters: number;
  /** Decoder layers. */
  readonly layers: number;
  /** Entries of the vocabulary. */
  readonly vocabulary: number;
  /** Positions that a request may take. */
  readonly max_model_len: number;
  /** How its linear layers are quantised, in the files or while they are loaded; or that they are not. */
  readonly quantization: string;
  /** Bytes of tensors by stored type. */
  readonly bytes_by_dtype: Readonly<Record<string, number>>;
  /** Type in which keys and values are kept. */
  readonly kv_cache_dtype: string;
  /** Bytes of keys and values of one token, over all ranks. */
  readonly kv_bytes_per_token: number;
  /** Blocks of the KV cache of a replica; on GPUs at most, where the ranks settle it. */
  readonly kv_blocks: number;
  /** Bytes of all replicas of the host together, weights that they share counted once. */
  readonly bytes_of_replicas: number;
  /** Whether it fits the memory it is to lie in, or why not and what would. */
  readonly memory: string;
  /** How ranks are started, and why. */
  readonly launcher: string;
  /** What moves data between ranks, and why. */
  readonly communicator: string;
  /** Threads of each rank. */
  readonly threads_per_rank: number;
  /** Decoder layers of each pipeline stage, and what cut them. */
  readonly pipeline_cut: string;
  /** Each rank of a replica. */
  readonly ranks: readonly RankReport[];
}

/** One rank of a replica. */
export interface RankReport {
  /** Pipeline stage. */
  readonly pipeline_stage: number;
  /** Place among the ranks that share each layer. */
  readonly tensor_rank: number;
  /** First and last layer. */
  readonly layers: readonly [first: number, last: number];
  /** Bytes of weights that it reads. */
  readonly weight_bytes: number;
  /** Bytes of activations and logits. */
  readonly buffer_bytes: number;
  /** Bytes of its KV cache. */
  readonly kv_cache_bytes: number;
}

const WEIGHT_DTYPES: Readonly<Record<string, WeightDType>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
};

/** Describes the checkpoint of `options`, from its config and headers; throws as loading it would. */
export function describeModel(options: EngineOptions): ModelReport {
  const engine = resolveEngineConfig(options);
  const { modelConfig } = engine;
  const { bytes, stored } = readStoredTypes(engine);
  const footprints = engineFootprints(engine, stored);
  const kvBlocks = engine.numBlocks ?? blocksAtMost(engine, footprints);
  return {
    folder: engine.model,
    architecture: modelConfig.architecture,
    parameters: parameterCount(modelConfig),
    layers: modelConfig.numLayers,
    vocabulary: modelConfig.vocabSize,
    max_model_len: engine.maxModelLen,
    quantization: describeQuantization(engine),
    bytes_by_dtype: bytes,
    kv_cache_dtype: engine.kvCacheDtype,
    kv_bytes_per_token: footprints.reduce((sum, rank) => sum + rank.kvBytesPerToken, 0),
    kv_blocks: kvBlocks,
    bytes_of_replicas: replicasBytes(engine, footprints, {
      replicas: options.replicasOnHost ?? 1,
      numBlocks: kvBlocks,
    }),
    memory: describeMemory(engine),
    launcher: describeLauncher(engine),
    communicator: describeCommunicator(engine, footprints.length),
    threads_per_rank: engine.threads,
    pipeline_cut: describeCut(engine),
    ranks: footprints.map((footprint) => rankReport(footprint, kvBlocks)),
  };
}

function readStoredTypes(
  engine: EngineConfig,
): { readonly bytes: Readonly<Record<string, number>>; readonly stored: StoredTypes } {
  const bytes: Record<string, number> = {};
  const types = new Map<string, string>();
  for (const weight of storedWeights(engine)) {
    bytes[weight.dtype] = (bytes[weight.dtype] ?? 0) + weight.bytes;
    types.set(weight.name, weight.dtype);
  }
  if (engine.loadFormat === "dummy") return { bytes, stored: announcedTypes(engine.modelConfig) };
  using checkpoint = Checkpoint.open(engine.model, engine.modelConfig);
  checkpoint.verify(engine.modelConfig);
  const quantized = new Set(
    parameterShapes(engine.modelConfig).flatMap(({ layer }) =>
      layer && checkpoint.isQuantized(layer.name) ? [layer.name] : []
    ),
  );
  return {
    bytes,
    stored: {
      dtypeOf: (name) => WEIGHT_DTYPES[types.get(name)!],
      isQuantized: (layer) => quantized.has(layer),
    },
  };
}

/** What is left of each GPU for the cache when weights and activations are there. */
function blocksAtMost(engine: EngineConfig, footprints: readonly RankFootprint[]): number {
  const { gpus, gpuMemoryUtilization, enoughBlocks } = engine;
  const blocks = footprints.map((footprint, rank) => {
    const free = gpus[rank].totalMemory * gpuMemoryUtilization - rankBytes(footprint, 0);
    return Math.floor(free / (footprint.kvBytesPerToken * KV_BLOCK_SIZE));
  });
  return Math.max(0, Math.min(enoughBlocks, ...blocks));
}

function describeMemory(engine: EngineConfig): string {
  try {
    verifyMemory(engine);
    return "fits";
  } catch (error) {
    if (error instanceof CapacityError) return error.message;
    throw error;
  }
}

function describeLauncher({ launcher, device }: EngineConfig): string {
  if (launcher === "thread") return "thread: each rank is a Worker of this process";
  return device === "cuda"
    ? "process: each GPU has a process of its own"
    : "process: each rank is a child process, as --launcher asks";
}

function describeCommunicator({ device }: EngineConfig, ranks: number): string {
  if (ranks === 1) return "single: the replica has one rank";
  return device === "cuda"
    ? `nccl: the replica's ${ranks} ranks compute on a GPU each`
    : `shared-memory: the replica's ${ranks} ranks run on this machine`;
}

function rankReport(footprint: RankFootprint, kvBlocks: number): RankReport {
  return {
    pipeline_stage: footprint.pipelineStage,
    tensor_rank: footprint.tensorRank,
    layers: [footprint.firstLayer, footprint.endLayer - 1],
    weight_bytes: footprint.weightBytes,
    buffer_bytes: footprint.bufferBytes,
    kv_cache_bytes: footprint.kvBytesPerToken * KV_BLOCK_SIZE * kvBlocks,
  };
}
