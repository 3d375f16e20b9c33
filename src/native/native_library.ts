/**
 * The native library of the CPU kernels.
 * @module
 */
import { type CompileOptions, compileSources } from "./compile.ts";
import { findCompiler } from "./compiler.ts";
import {
  bestInstructionSet,
  chooseInstructionSet,
  type InstructionSet,
} from "./instruction_set.ts";
import { readProcessor } from "./processor.ts";
import { CPU_SOURCES } from "./sources.ts";

/** The native library, compiled for this machine. */
export interface NativeLibrary {
  /** Path of the shared library. */
  readonly path: string;
  /** The instruction set it was compiled for, and why. */
  readonly instructionSet: InstructionSet;
}

/**
 * The native library of the CPU kernels for the best instruction set of this machine, or the one that
 * `WEFT_CPU_ISA` names; from the cache when it was compiled before. Blocks while compiling (some seconds).
 *
 * Throws when the platform is not Linux on x86-64 or aarch64, when the processor or the system lacks
 * the instruction set that was named, when there is no C compiler, or when it fails.
 */
export function nativeLibrary(options: CompileOptions = {}): NativeLibrary {
  const processor = readProcessor();
  const forced = Deno.env.get("WEFT_CPU_ISA");
  const chosen = chooseInstructionSet(processor, forced);
  const path = compileSources(CPU_SOURCES, chosen.flags, options);
  if (chosen.name !== "amx") return { path, instructionSet: chosen };

  const status = enableInstructionSet(path);
  if (status === 0) return { path, instructionSet: chosen };
  const refusal = status < 0
    ? `the system refuses AMX tiles: errno is ${-status}`
    : "the processor's AMX tiles do not compute what they should";
  if (forced) {
    throw new Error(`Cannot use the instruction set amx that WEFT_CPU_ISA names as ${refusal}`);
  }
  const instructionSet = bestInstructionSet(processor, { reason: refusal, except: "amx" });
  return { path: compileSources(CPU_SOURCES, instructionSet.flags, options), instructionSet };
}

/**
 * What keeps the native library from being compiled here, for people; null when nothing does, or when
 * `WEFT_CPU_ISA` names an instruction set, which is not to be replaced by another.
 */
export function nativeObstacle(): string | null {
  if (Deno.env.get("WEFT_CPU_ISA")) return null;
  try {
    readProcessor();
    findCompiler();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Path of {@linkcode nativeLibrary}; throws as it does. */
export function nativeLibraryPath(options: CompileOptions = {}): string {
  return nativeLibrary(options).path;
}

/** Asks the system for what the instructions need; 0, a negated errno when it refuses, 1 when they fail. */
function enableInstructionSet(path: string): number {
  const library = Deno.dlopen(path, ENABLE_SYMBOLS);
  try {
    return library.symbols.weft_enable_instruction_set();
  } finally {
    library.close();
  }
}

/** What every user of kernels calls first, once in its process. */
export const ENABLE_SYMBOLS = {
  // int32_t weft_enable_instruction_set(void)
  weft_enable_instruction_set: { parameters: [], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;
