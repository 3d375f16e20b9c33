/**
 * Settles an engine's options against its model and its host: what every rank must agree on.
 * @module
 */
import { partitionHeads } from "../layers/partition.ts";
import { Checkpoint } from "../models/checkpoint.ts";
import { type ModelConfig, readModelConfig } from "../models/model_config.ts";
import { kvBytesPerBlock } from "../models/rank_footprint.ts";
import { WASM_MEMORY_BYTES } from "../native/wasm_library.ts";
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import type { WeightStoreHandle } from "../tensor/cpu/weight_store.ts";
import type { GpuDescription } from "../tensor/cuda/list_gpus.ts";
import type { DeviceKind } from "../tensor/device.ts";
import type { KvDType, WeightDType } from "../tensor/dtype.ts";
import { activationDtypeOf } from "../tensor/open_device.ts";
import {
  chooseDevice,
  type DeviceChoice,
  verifyDeviceOptions,
  verifyGpuPlacement,
} from "./device_choice.ts";
import { engineFootprints } from "./engine_memory.ts";
import { availableCores, availableMemory } from "./host_resources.ts";
import { blocksInBytes } from "./kv_cache_size.ts";
import { kvCacheDtype } from "./kv_cache_dtype.ts";
import { type PipelineCut, settlePipelineCut } from "./pipeline_cut.ts";
import { positive } from "./positive.ts";
import { positionsInCache, type StepLimits, stepLimits } from "./step_limits.ts";
import type { EngineOptions } from "./types.ts";

/** Share of the free memory that the KV cache takes on a CPU when nothing is said. */
const DEFAULT_KV_SHARE = 0.25;

/** Share of a GPU's memory that may be used when nothing is said. */
const DEFAULT_GPU_MEMORY_UTILIZATION = 0.9;

/**
 * Plans beyond the pipeline's stages that may be under way. A CPU rank finds its next plan waiting. Of a
 * GPU one step runs and one is queued while the tokens of the one before pass through the scheduler.
 */
const LOOKAHEAD: Readonly<Record<DeviceKind, number>> = { cpu: 1, cuda: 2 };

/** An engine's settled options. Plain data: it is handed to every rank. */
export interface EngineConfig extends StepLimits, PipelineCut {
  /** Folder of the checkpoint. */
  readonly model: string;
  /** The model. */
  readonly modelConfig: ModelConfig;
  /** Ranks that share each layer. */
  readonly tensorParallelSize: number;
  /** Pipeline stages. */
  readonly pipelineParallelSize: number;
  /** How ranks are started. */
  readonly launcher: "thread" | "process";
  /** Where to compute. */
  readonly device: DeviceKind;
  /** Whether the CPU computes through WebAssembly, in one memory of 4 GiB for all ranks. */
  readonly wasm: boolean;
  /** Why there. */
  readonly deviceReason: string;
  /** The GPU of each rank; none on a CPU. */
  readonly gpus: readonly GpuDescription[];
  /** Number of the first of them; the others follow it. */
  readonly firstGpu: number;
  /** Share of a GPU's memory that may be used. */
  readonly gpuMemoryUtilization: number;
  /** Whether decode steps are never recorded. */
  readonly enforceEager: boolean;
  /** Storage of linear weights; null keeps the checkpoint's. */
  readonly format: WeightDType | null;
  /** Quantises linear weights while they are loaded. */
  readonly quantization: EngineOptions["quantization"];
  /** Type of the activations. */
  readonly activationDtype: WeightDType;
  /** How keys and values are kept. */
  readonly kvCacheDtype: KvDType;
  /** Where weights come from. */
  readonly loadFormat: "safetensors" | "dummy";
  /** Where packed weights are shared; null when each replica has its own. */
  readonly weightStore: WeightStoreHandle | null;
  /** Threads of each rank. */
  readonly threads: number;
  /** Whether ranks may spin while they wait: only when each thread has a core to itself. */
  readonly spin: boolean;
  /** Positions that a request may take: what the context holds, and the cache when its size is known. */
  readonly maxModelLen: number;
  /** Blocks of the KV cache; null when the ranks find out what their GPUs hold. */
  readonly numBlocks: number | null;
  /** Blocks that all sequences together could fill. */
  readonly enoughBlocks: number;
  /** Plans beyond the pipeline's stages that may be under way. */
  readonly lookahead: number;
}

/**
 * Reads the model's config and settles every option; `choice` is where to compute.
 *
 * @throws {ModelLoadError} when the config cannot be served.
 * @throws {RangeError} when the layout does not fit the model or its host, or an option is out of range.
 * @throws {LibraryError} when GPUs are asked for and a CUDA library is missing.
 * @throws {NativeError} when GPUs are asked for and there are none.
 */
export function resolveEngineConfig(
  options: EngineOptions,
  choice: DeviceChoice = chooseDevice(options.device ?? "auto"),
): EngineConfig {
  const { kind: device, wasm } = choice;
  const modelConfig = readModelConfig(options.model);
  verifyQuantization(options, modelConfig);
  const tensorParallelSize = positive("tensorParallelSize", options.tensorParallelSize ?? 1);
  const pipelineParallelSize = positive("pipelineParallelSize", options.pipelineParallelSize ?? 1);
  partitionHeads(modelConfig, { rank: 0, parts: tensorParallelSize });
  const cut = settlePipelineCut(options, { modelConfig, stages: pipelineParallelSize });
  const replicas = positive("replicasOnHost", options.replicasOnHost ?? 1);
  const ranks = tensorParallelSize * pipelineParallelSize;
  const firstGpu = options.firstGpu ?? 0;
  verifyDeviceOptions(options, { device, wasm, ranks });
  if (device === "cuda") {
    verifyGpuPlacement({ firstGpu, ranks, replicas }, choice.gpus.length);
  }
  const limits = stepLimits(options, { device, modelConfig });
  const types = typesOf(options, modelConfig, device);
  const layout = {
    modelConfig,
    tensorParallelSize,
    pipelineParallelSize,
    ...cut,
    device,
    wasm,
    quantization: options.quantization,
    ...types,
    ...limits,
  };
  const enoughBlocks = limits.maxNumSeqs * Math.ceil(limits.maxModelLen / KV_BLOCK_SIZE);
  const numBlocks = blocksOf(options, {
    device,
    // What the host has free is shared by its replicas.
    free: () => {
      const free = availableMemory() / replicas;
      return Math.floor((wasm ? Math.min(free, WASM_MEMORY_BYTES) : free) * DEFAULT_KV_SHARE);
    },
    blockBytes: () => kvBytesPerBlock(engineFootprints(layout)),
    enough: enoughBlocks,
  });
  return {
    ...layout,
    model: options.model,
    launcher: options.launcher ?? (device === "cuda" ? "process" : "thread"),
    deviceReason: choice.reason,
    gpus: choice.gpus.slice(firstGpu, firstGpu + ranks),
    firstGpu,
    gpuMemoryUtilization: options.gpuMemoryUtilization ?? DEFAULT_GPU_MEMORY_UTILIZATION,
    enforceEager: options.enforceEager ?? false,
    loadFormat: options.loadFormat ?? "safetensors",
    weightStore: options.weightStore ?? null,
    ...threadsOf(options, { device, ranks: ranks * replicas }),
    maxModelLen: numBlocks === null ? limits.maxModelLen : positionsInCache(limits, numBlocks),
    numBlocks,
    enoughBlocks,
    lookahead: LOOKAHEAD[device],
  };
}

/** What is quantised already stays as it is: to round it again would only lose. */
function verifyQuantization(
  { model, quantization }: EngineOptions,
  modelConfig: ModelConfig,
): void {
  if (quantization === undefined || modelConfig.quantization === null) return;
  const { method, bits } = modelConfig.quantization;
  throw new RangeError(
    `Cannot follow quantization ${quantization} as the checkpoint ${model} is quantised already: ` +
      `its weights are ${method} of ${bits} bits`,
  );
}

/** A GPU multiplies all weights in one type, that of most of the checkpoint when nothing is said. */
function typesOf(
  options: EngineOptions,
  modelConfig: ModelConfig,
  device: DeviceKind,
): Pick<EngineConfig, "format" | "activationDtype" | "kvCacheDtype"> {
  const { dtype = "auto" } = options;
  const format = dtype === "auto" ? storedType(options, modelConfig) : dtype;
  const activationDtype = activationDtypeOf(device, format);
  // Products with quantised weights round more than a cache of bf16 does.
  const isQuantized = options.quantization !== undefined || modelConfig.quantization !== null;
  return {
    format: device === "cpu" && dtype === "auto" ? null : format,
    activationDtype,
    kvCacheDtype: kvCacheDtype(options.kvCacheDtype ?? "auto", {
      device,
      computeDtype: isQuantized && dtype === "auto" ? "bf16" : format,
      activationDtype,
    }),
  };
}

function storedType(
  { model, loadFormat }: EngineOptions,
  modelConfig: ModelConfig,
): WeightDType {
  return loadFormat === "dummy" ? modelConfig.dtype : majorityType(model, modelConfig);
}

function majorityType(model: string, modelConfig: ModelConfig): WeightDType {
  using checkpoint = Checkpoint.open(model, modelConfig);
  return checkpoint.dtype ?? modelConfig.dtype;
}

function blocksOf(
  { numKvBlocks, kvCacheMemory }: EngineOptions,
  host: {
    readonly device: DeviceKind;
    readonly free: () => number;
    readonly blockBytes: () => number;
    readonly enough: number;
  },
): number | null {
  if (numKvBlocks !== undefined) return positive("numKvBlocks", numKvBlocks);
  if (kvCacheMemory === undefined && host.device === "cuda") return null;
  const bytes = kvCacheMemory ?? host.free();
  return blocksInBytes(bytes, { blockBytes: host.blockBytes(), enough: host.enough });
}

function threadsOf(
  options: EngineOptions,
  { device, ranks }: { readonly device: DeviceKind; readonly ranks: number },
): Pick<EngineConfig, "threads" | "spin"> {
  const cores = availableCores();
  const share = device === "cuda" ? 1 : Math.max(1, Math.floor(cores / ranks));
  const threads = positive("threads", options.threads ?? share);
  return { threads, spin: threads * ranks <= cores };
}
