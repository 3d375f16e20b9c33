/**
 * How many blocks the KV cache has.
 * @module
 */
import { CapacityError } from "../tensor/errors.ts";
import { formatBytes } from "./format_bytes.ts";

/** Blocks that `bytes` hold, at most `enough`; throws RangeError when not even one fits. */
export function blocksInBytes(
  bytes: number,
  options: { readonly blockBytes: number; readonly enough: number },
): number {
  const { blockBytes, enough } = options;
  const blocks = Math.min(Math.floor(bytes / blockBytes), enough);
  if (blocks < 1) {
    throw new RangeError(
      `Cannot make a KV cache of ${bytes} bytes as one block takes ${blockBytes}: ` +
        `raise kvCacheMemory`,
    );
  }
  return blocks;
}

/** A GPU on which everything but the KV cache has its memory. */
export interface GpuMemoryUse {
  /** Bytes of the GPU's memory. */
  readonly total: number;
  /** Bytes that are free. */
  readonly free: number;
  /** Share of the memory that may be used, other processes' use included. */
  readonly utilization: number;
  /** Bytes of one block on this rank. */
  readonly blockBytes: number;
}

/** Blocks that are left for a rank's KV cache; throws CapacityError when not even one is. */
export function blocksOnGpu({ total, free, utilization, blockBytes }: GpuMemoryUse): number {
  const used = total - free;
  const blocks = Math.floor((total * utilization - used) / blockBytes);
  if (blocks < 1) {
    throw new CapacityError(
      `Cannot make a KV cache as ${formatBytes(used)} of ${formatBytes(total)} are used and ` +
        `${utilization} of them may be: one block takes ${formatBytes(blockBytes)}`,
      blockBytes,
    );
  }
  return blocks;
}
