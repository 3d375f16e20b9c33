/**
 * Whether a layout's weights, activations and cache fit where they are to lie, known before anything is
 * loaded.
 * @module
 */
import {
  announcedTypes,
  kvBytesPerBlock,
  type RankFootprint,
  rankFootprints,
  type StoredTypes,
} from "../models/rank_footprint.ts";
import { WASM_MEMORY_BYTES } from "../native/wasm_library.ts";
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import { CapacityError } from "../tensor/errors.ts";
import type { EngineConfig } from "./engine_config.ts";
import { formatBytes } from "./format_bytes.ts";
import { availableMemory, totalMemory } from "./host_resources.ts";
import { isPacked } from "./packed_weights.ts";

/** What says how much each rank of an engine holds. */
export type FootprintConfig = Pick<
  EngineConfig,
  | "modelConfig"
  | "tensorParallelSize"
  | "pipelineParallelSize"
  | "pipelineLayers"
  | "device"
  | "format"
  | "quantization"
  | "activationDtype"
  | "kvCacheDtype"
  | "maxNumBatchedTokens"
  | "maxLogitRows"
>;

/** What each rank of an engine holds; `stored` matters where the checkpoint's types are kept. */
export function engineFootprints(
  config: FootprintConfig,
  stored: StoredTypes = announcedTypes(config.modelConfig),
): RankFootprint[] {
  const maxRows = config.maxNumBatchedTokens;
  return rankFootprints(config.modelConfig, { ...config, stored, maxRows });
}

/** Bytes of a rank's part of the model with `numBlocks` blocks of KV cache. */
export function rankBytes(footprint: RankFootprint, numBlocks: number): number {
  const { weightBytes, bufferBytes, kvBytesPerToken } = footprint;
  return weightBytes + bufferBytes + numBlocks * KV_BLOCK_SIZE * kvBytesPerToken;
}

/**
 * Bytes that `replicas` engines on one host hold together: on a CPU they share what lies in mapped files and
 * what they pack, so that weights count once.
 */
export function replicasBytes(
  { device, wasm }: Pick<EngineConfig, "device" | "wasm">,
  footprints: readonly RankFootprint[],
  { replicas, numBlocks }: { readonly replicas: number; readonly numBlocks: number },
): number {
  const weights = footprints.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
  const all = footprints.reduce((sum, footprint) => sum + rankBytes(footprint, numBlocks), 0);
  const sharesWeights = device === "cpu" && !wasm;
  return sharesWeights ? weights + replicas * (all - weights) : replicas * all;
}

/**
 * Refuses what could never fit; throws CapacityError that says what would. `beside` are the engines that stay
 * loaded in the same memory, the number of their blocks settled.
 */
export function verifyMemory(config: EngineConfig, beside: readonly EngineConfig[] = []): void {
  if (config.device === "cuda") return verifyGpuMemory(config, beside);
  verifyHostMemory(config);
  if (beside.length > 0) verifySharedHost(config, beside, HOST);
}

/** What a host has, in bytes. */
export interface HostMemory {
  /** All of it. */
  readonly total: () => number;
  /** What nothing uses; pages of files count as free. */
  readonly available: () => number;
  /** Whether the packed weights of an engine lie there already, for all that share them. */
  readonly holds: (config: EngineConfig) => boolean;
}

const HOST: HostMemory = {
  total: totalMemory,
  available: availableMemory,
  holds: isPacked,
};

/**
 * Refuses a second engine on a host that has no room for both. One alone may be larger than the machine, as the
 * system reads mapped weights again when it needs them; two that take turns like that would serve nobody.
 */
export function verifySharedHost(
  config: EngineConfig,
  beside: readonly EngineConfig[],
  host: HostMemory,
): void {
  const [own, ...others] = [config, ...beside].map(hostBytes);
  const all = others.reduce((sum, bytes) => sum + bytes, own);
  const needed = host.holds(config) ? own - weightBytes(config) : own;
  const [total, available] = [host.total(), host.available()];
  if (all <= total && needed <= available) return;
  throw new CapacityError(
    `Cannot hold a second set of weights as both need ${formatBytes(all)} with their KV caches, ` +
      `${formatBytes(needed)} of it now: the machine has ${formatBytes(total)}, ` +
      `of which ${formatBytes(available)} are free`,
    needed,
  );
}

function hostBytes(config: EngineConfig): number {
  const numBlocks = config.numBlocks ?? 0;
  return engineFootprints(config).reduce((sum, rank) => sum + rankBytes(rank, numBlocks), 0);
}

function weightBytes(config: EngineConfig): number {
  return engineFootprints(config).reduce((sum, rank) => sum + rank.weightBytes, 0);
}

/** The CPU maps its weights; a cache larger than the machine is a mistake. */
function verifyHostMemory(config: EngineConfig): void {
  const numBlocks = config.numBlocks ?? 0;
  const footprints = engineFootprints(config);
  if (config.wasm) {
    const needed = hostBytes(config);
    if (needed > WASM_MEMORY_BYTES) {
      throw new CapacityError(
        `Cannot hold the model as the WebAssembly kernels have ${
          formatBytes(WASM_MEMORY_BYTES)
        } for ` +
          `all ranks: it needs ${formatBytes(needed)} with its KV cache`,
        needed,
      );
    }
  }
  const bytes = numBlocks * kvBytesPerBlock(footprints);
  const total = totalMemory();
  if (bytes <= total) return;
  throw new CapacityError(
    `Cannot make a KV cache of ${numBlocks} blocks as it takes ${bytes} bytes: ` +
      `the machine has ${total}`,
    bytes,
  );
}

function verifyGpuMemory(config: EngineConfig, beside: readonly EngineConfig[]): void {
  const { gpus, gpuMemoryUtilization: utilization, tensorParallelSize } = config;
  const footprints = engineFootprints(config);
  const others = beside.map((other) => ({ ...other, footprints: engineFootprints(other) }));
  footprints.forEach((footprint, rank) => {
    const { name, totalMemory } = gpus[rank];
    const bytes = rankBytes(footprint, config.numBlocks ?? 1);
    const taken = others.reduce(
      (sum, other) => sum + rankBytes(other.footprints[rank], other.numBlocks ?? 1),
      0,
    );
    if (taken + bytes <= totalMemory * utilization) return;
    if (taken > 0) {
      throw new CapacityError(
        `Cannot hold a second set of weights as both need ${
          formatBytes(taken + bytes)
        } a rank with ` +
          `their KV caches: ${name} has ${
            formatBytes(totalMemory)
          }, of which ${utilization} may be ` +
          `used; give numKvBlocks, of which there are ${config.numBlocks} each`,
        bytes,
      );
    }
    throw new CapacityError(
      `Cannot hold the model as it needs ${formatBytes(bytes)} a rank at tensor parallel size ` +
        `${tensorParallelSize}: ${name} has ${formatBytes(totalMemory)}, of which ${utilization} ` +
        `may be used; ${whatFits(config, { rank, footprint })}`,
      bytes,
    );
  });
}

/** A smaller cache, or a larger tensor-parallel size, that fits the same GPUs. */
function whatFits(
  config: EngineConfig,
  { rank, footprint }: { readonly rank: number; readonly footprint: RankFootprint },
): string {
  const usable = config.gpus[rank].totalMemory * config.gpuMemoryUtilization;
  if (rankBytes(footprint, 1) <= usable) {
    const blockBytes = KV_BLOCK_SIZE * footprint.kvBytesPerToken;
    return `${Math.floor((usable - rankBytes(footprint, 0)) / blockBytes)} blocks of KV cache fit`;
  }
  const { numHeads } = config.modelConfig;
  for (let size = config.tensorParallelSize + 1; size <= numHeads; size++) {
    if (numHeads % size !== 0) continue;
    const footprints = engineFootprints({ ...config, tensorParallelSize: size });
    const bytes = Math.max(...footprints.map((footprint) => rankBytes(footprint, 1)));
    if (bytes <= usable) return `tensor parallel size ${size} needs ${formatBytes(bytes)}`;
  }
  return "no tensor parallel size makes it fit";
}
