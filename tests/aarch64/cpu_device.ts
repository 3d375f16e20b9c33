import { chooseInstructionSet } from "../../src/native/instruction_set.ts";
import { parseProcessor } from "../../src/native/processor.ts";
import { openCpuDevice } from "../../src/tensor/cpu/device.ts";
import type { Device } from "../../src/tensor/device.ts";
import { openEmulatedLibrary } from "./emulated_library.ts";
import { findAarch64Tools } from "./tools.ts";

/** Features of processors: the oldest, and one with all that the kernels use. */
const FEATURES = {
  "neon": "fp asimd",
  "neon+bf16+dotprod+i8mm": "fp asimd atomics asimddp i8mm bf16",
} as const;

const PATH = "aarch64";

/**
 * The CPU device with its kernels compiled for NEON and run in an emulator; null, and a line that says
 * what is missing, where that cannot be done.
 */
export function openNeonDevice(
  set: keyof typeof FEATURES,
  options: { readonly threads: number },
): Device | null {
  const tools = findAarch64Tools();
  if (tools === null) return null;
  const processor = parseProcessor(`Features : ${FEATURES[set]}\n`, "aarch64");
  const { flags } = chooseInstructionSet(processor);
  const { dlopen } = Deno;
  Deno.dlopen = (path, symbols) =>
    path === PATH ? openEmulatedLibrary(tools, flags, symbols) : dlopen(path, symbols);
  try {
    return openCpuDevice({ ...options, libraryPath: PATH });
  } finally {
    Deno.dlopen = dlopen;
  }
}
