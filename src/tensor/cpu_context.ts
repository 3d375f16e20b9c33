/**
 * What the parts of the CPU device share.
 * @module
 */
import type { CpuKernelSymbols } from "../native/cpu_kernels.ts";
import type { CpuMemory } from "./cpu_memory.ts";

/** Library, memory and thread pool of one CPU device. */
export interface CpuContext {
  /** Library functions. */
  readonly kernels: CpuKernelSymbols;
  /** Memory of the device. */
  readonly memory: CpuMemory;
  /** Address of the `weft_pool` that kernels run on. */
  readonly pool: bigint;
}
