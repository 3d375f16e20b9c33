/**
 * How fast a GPU moves memory: what its kernels are held against.
 * @module
 */
import type { CudaContext } from "./context.ts";

/** Bytes of one copy at most; many times what a cache holds. */
const MAX_COPY_BYTES = 2 ** 29;

/** Part of the free memory that each of the two operands takes at most. */
const SHARE = 1 / 4;
const COPIES = 32;

/** Bytes a second that copies inside the GPU read and write together. Takes up to 1 GiB meanwhile. */
export function measureCopyBandwidth({ memory, stream, cudart }: CudaContext): number {
  const bytes = Math.floor(Math.min(MAX_COPY_BYTES, cudart.memGetInfo().free * SHARE));
  const [from, to] = [memory.allocate(bytes), memory.allocate(bytes)];
  try {
    const seconds = (copies: number) => {
      const start = performance.now();
      for (let i = 0; i < copies; i++) memory.copy(to, from, bytes);
      stream.synchronize();
      return (performance.now() - start) / 1000;
    };
    // The first ones wake the GPU up.
    seconds(COPIES);
    return 2 * bytes * COPIES / seconds(COPIES);
  } finally {
    memory.free(from);
    memory.free(to);
  }
}
