/**
 * What the parts of the CPU device share.
 * @module
 */
import type { CpuMemory } from "./memory.ts";
import type { TokenScratch } from "./token_scratch.ts";

/** Library, memory and thread pool of one CPU device. `Symbols`: the functions that a part calls. */
export interface CpuContext<Symbols extends Deno.ForeignLibraryInterface> {
  /** Library functions. */
  readonly kernels: Deno.DynamicLibrary<Symbols>["symbols"];
  /** Memory of the device. */
  readonly memory: CpuMemory;
  /** Address of the `weft_pool` that kernels run on. */
  readonly pool: bigint;
  /** Where products prepare activations. */
  readonly scratch: TokenScratch;
}
