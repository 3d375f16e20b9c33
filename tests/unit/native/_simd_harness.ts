import { compileSources, nativeArchitectureFlags } from "../../../src/native/compile.ts";
import { CPU_SOURCES } from "../../../src/native/sources.ts";

const SYMBOLS = {
  harness_apply: { parameters: ["i32", "buffer", "buffer", "i32"], result: "void" },
  harness_widen: { parameters: ["i32", "buffer", "buffer", "i32"], result: "void" },
  harness_narrow: { parameters: ["i32", "buffer", "buffer", "i32"], result: "void" },
  harness_reduce: { parameters: ["buffer", "buffer"], result: "void" },
  harness_compare: { parameters: ["buffer", "buffer", "buffer", "buffer"], result: "void" },
  harness_pool: { parameters: ["i32", "buffer", "i32", "i32", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** simd.h and pool.c behind an FFI face. */
export type SimdHarness = Deno.DynamicLibrary<typeof SYMBOLS>;

/** Compiler flags of the three implementations; AVX2 only where this machine has it. */
export function instructionSetFlags(): Record<string, string[]> {
  // Less optimisation compiles faster; the results are the same bits.
  const quick = ["-O1"];
  const flags: Record<string, string[]> = {
    native: nativeArchitectureFlags(),
    portable: [...quick, "-march=x86-64"],
  };
  const processor = Deno.readTextFileSync("/proc/cpuinfo");
  if (/\bavx2\b/.test(processor) && /\bfma\b/.test(processor) && /\bf16c\b/.test(processor)) {
    flags.avx2 = [...quick, "-march=x86-64", "-mavx2", "-mfma", "-mf16c"];
  }
  return flags;
}

/** Compiles the harness with `flags` and opens it. */
export function openSimdHarness(flags: readonly string[]): SimdHarness {
  const text = Deno.readTextFileSync(new URL("./_simd_harness.c", import.meta.url));
  const needed = CPU_SOURCES.filter(({ name }) => /^(simd|pool)/.test(name));
  return Deno.dlopen(compileSources([...needed, { name: "harness.c", text }], flags), SYMBOLS);
}
