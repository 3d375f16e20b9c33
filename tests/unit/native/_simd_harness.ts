import { compileSources } from "../../../src/native/compile.ts";
import { chooseInstructionSet, instructionSetsOf } from "../../../src/native/instruction_set.ts";
import { readProcessor } from "../../../src/native/processor.ts";
import { CPU_SOURCES } from "../../../src/native/sources.ts";

const SYMBOLS = {
  harness_apply: { parameters: ["i32", "buffer", "buffer", "i32"], result: "void" },
  harness_widen: { parameters: ["i32", "buffer", "buffer", "i32"], result: "void" },
  harness_narrow: { parameters: ["i32", "buffer", "buffer", "i32"], result: "void" },
  harness_reduce: { parameters: ["buffer", "buffer"], result: "void" },
  harness_compare: { parameters: ["buffer", "buffer", "buffer", "buffer"], result: "void" },
  harness_pool_alternating: {
    parameters: ["i32", "buffer", "i32", "buffer", "i32", "i32"],
    result: "i32",
  },
  harness_pool: { parameters: ["i32", "buffer", "i32", "i32", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** simd.h and pool.c behind an FFI face. */
export type SimdHarness = Deno.DynamicLibrary<typeof SYMBOLS>;

/**
 * Compiler flags of the library's own instruction set ("native"), and of every other that this machine
 * has.
 */
export function instructionSetFlags(): Record<string, string[]> {
  const processor = readProcessor();
  const native = chooseInstructionSet(processor, Deno.env.get("WEFT_CPU_ISA"));
  const flags: Record<string, string[]> = { native: [...native.flags] };
  for (const name of instructionSetsOf(processor)) {
    if (name !== native.name) flags[name] = [...chooseInstructionSet(processor, name).flags];
  }
  return flags;
}

/** Compiles the harness with `flags` and opens it. */
export function openSimdHarness(flags: readonly string[]): SimdHarness {
  const text = Deno.readTextFileSync(new URL("./_simd_harness.c", import.meta.url));
  const needed = CPU_SOURCES.filter(({ name }) => /^(simd|pool|pause)/.test(name));
  return Deno.dlopen(compileSources([...needed, { name: "harness.c", text }], flags), SYMBOLS);
}
