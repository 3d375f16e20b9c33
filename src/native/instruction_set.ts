/**
 * Which instructions the CPU kernels are compiled for.
 *
 * A set is a choice of compiler flags; the sources say with `#if` what they do under each. Flags are
 * given one by one, as `-march=native` also chooses a tuning, and compilers that are older than the
 * processor choose a wrong one.
 * @module
 */
import type { Processor } from "./processor.ts";

/** Names of the instruction sets, best first. */
export const INSTRUCTION_SETS = ["amx", "avx512", "avx2", "neon", "portable"] as const;

/** Name of an instruction set, as `WEFT_CPU_ISA` takes it. */
export type InstructionSetName = typeof INSTRUCTION_SETS[number];

/** An instruction set and why it was chosen. */
export interface InstructionSet {
  /** Its name. */
  readonly name: InstructionSetName;
  /** Compiler flags that select it. */
  readonly flags: readonly string[];
  /** Why it was chosen, for people. */
  readonly reason: string;
}

interface Definition {
  /** Architecture it belongs to; any when left out. */
  readonly arch?: string;
  /** Features that the processor must have. */
  readonly needs: readonly string[];
  flags(processor: Processor): readonly string[];
}

const AVX2 = ["avx2", "fma", "f16c"];
const AVX512 = [...AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl"];
const AVX2_FLAGS = ["-march=x86-64", "-mavx2", "-mfma", "-mf16c"];
const AVX512_FLAGS = [
  ...AVX2_FLAGS,
  ...["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"],
];

const DEFINITIONS: Readonly<Record<InstructionSetName, Definition>> = {
  amx: {
    arch: "x86_64",
    needs: [...AVX512, "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8"],
    flags: (processor) => [
      ...avx512Flags(processor),
      ...["-mamx-tile", "-mamx-bf16", "-mamx-int8"],
    ],
  },
  avx512: { arch: "x86_64", needs: AVX512, flags: avx512Flags },
  avx2: { arch: "x86_64", needs: AVX2, flags: () => AVX2_FLAGS },
  neon: { arch: "aarch64", needs: ["asimd"], flags: neonFlags },
  portable: {
    needs: [],
    // NEON belongs to aarch64: nothing but a name of our own turns it off.
    flags: ({ arch }) =>
      arch === "x86_64" ? ["-march=x86-64"] : ["-march=armv8-a", "-DWEFT_PORTABLE"],
  },
};

/**
 * The best set that `processor` has, or the one named `forced` (the value of `WEFT_CPU_ISA`; empty is
 * none). Throws RangeError when there is no such set, Error when the processor lacks it.
 */
export function chooseInstructionSet(processor: Processor, forced?: string): InstructionSet {
  if (!forced) return bestInstructionSet(processor, { reason: "the best that the processor has" });
  const name = INSTRUCTION_SETS.find((name) => name === forced);
  if (name === undefined) {
    throw new RangeError(
      `Cannot use an unknown instruction set as WEFT_CPU_ISA is ${
        INSTRUCTION_SETS.join(", ")
      }: current value is ${forced}`,
    );
  }
  const lacking = lackOf(name, processor);
  if (lacking.length > 0) {
    throw new Error(
      `Cannot use the instruction set ${name} that WEFT_CPU_ISA names as the processor lacks ${
        lacking.join(", ")
      }: ${processor.name} has ${instructionSetsOf(processor).join(", ")}`,
    );
  }
  return { name, flags: DEFINITIONS[name].flags(processor), reason: "WEFT_CPU_ISA names it" };
}

/** The best set that `processor` has, `except` aside. */
export function bestInstructionSet(
  processor: Processor,
  { reason, except }: { readonly reason: string; readonly except?: InstructionSetName },
): InstructionSet {
  const name = instructionSetsOf(processor).find((name) => name !== except) ?? "portable";
  return { name, flags: DEFINITIONS[name].flags(processor), reason };
}

/** The sets that `processor` has, best first. */
export function instructionSetsOf(processor: Processor): InstructionSetName[] {
  return INSTRUCTION_SETS.filter((name) => lackOf(name, processor).length === 0);
}

function lackOf(name: InstructionSetName, { arch, features }: Processor): readonly string[] {
  const definition = DEFINITIONS[name];
  if (definition.arch !== undefined && definition.arch !== arch) return [definition.arch];
  return definition.needs.filter((feature) => !features.has(feature));
}

function avx512Flags({ features }: Processor): readonly string[] {
  const flags = [...AVX512_FLAGS];
  if (features.has("avx512_bf16")) flags.push("-mavx512bf16");
  if (features.has("avx512_vnni")) flags.push("-mavx512vnni");
  return flags;
}

function neonFlags({ features }: Processor): readonly string[] {
  // The first version that has the dot product instructions has atomics too.
  if (!features.has("asimddp") || !features.has("atomics")) return ["-march=armv8-a"];
  const extensions = ["bf16", "i8mm"].filter((name) => features.has(name)).map((name) =>
    `+${name}`
  );
  return [`-march=armv8.2-a+dotprod${extensions.join("")}`];
}
