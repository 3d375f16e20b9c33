/**
 * How fast a GPU moves memory: what its kernels are held against.
 * @module
 */
import type { CudaContext } from "./context.ts";

/** Bytes of one copy; many times what a cache holds. */
const COPY_BYTES = 2 ** 29;
const COPIES = 32;

/** Bytes a second that copies inside the GPU read and write together. Takes 1 GiB for the moment. */
export function measureCopyBandwidth({ memory, stream }: CudaContext): number {
  const [from, to] = [memory.allocate(COPY_BYTES), memory.allocate(COPY_BYTES)];
  try {
    const seconds = (copies: number) => {
      const start = performance.now();
      for (let i = 0; i < copies; i++) memory.copy(to, from, COPY_BYTES);
      stream.synchronize();
      return (performance.now() - start) / 1000;
    };
    // The first ones wake the GPU up.
    seconds(COPIES);
    return 2 * COPY_BYTES * COPIES / seconds(COPIES);
  } finally {
    memory.free(from);
    memory.free(to);
  }
}
