/**
 * The native library of the CPU kernels.
 * @module
 */
import { nativeLibraryPath } from "./compile.ts";
import { CPU_ATTENTION_SYMBOLS } from "./cpu_attention.ts";
import { CPU_EXPERTS_SYMBOLS } from "./cpu_experts.ts";
import { CPU_LAYER_SYMBOLS } from "./cpu_layers.ts";
import { CPU_SAMPLING_SYMBOLS } from "./cpu_sampling.ts";

const SYMBOLS = {
  ...CPU_LAYER_SYMBOLS,
  ...CPU_ATTENTION_SYMBOLS,
  ...CPU_EXPERTS_SYMBOLS,
  ...CPU_SAMPLING_SYMBOLS,
} as const satisfies Deno.ForeignLibraryInterface;

/** The opened library: `symbols` by their C names, and `close()`. */
export type CpuKernels = Deno.DynamicLibrary<typeof SYMBOLS>;

/** Functions of {@linkcode CpuKernels}. */
export type CpuKernelSymbols = CpuKernels["symbols"];

/**
 * Opens the CPU kernels, compiled at first use. `path` names another build of the same sources.
 * Throws as {@linkcode nativeLibraryPath} does.
 */
export function openCpuKernels(path: string = nativeLibraryPath()): CpuKernels {
  return Deno.dlopen(path, SYMBOLS);
}

/** Instruction set that an opened library was compiled for: `AVX-512`, `AVX2` or `portable`. */
export function instructionSetOf(kernels: CpuKernels): string {
  const name = kernels.symbols.weft_instruction_set();
  return name === null ? "" : Deno.UnsafePointerView.getCString(name);
}
