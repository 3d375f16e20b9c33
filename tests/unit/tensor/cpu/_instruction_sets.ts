import { compileSources } from "../../../../src/native/compile.ts";
import { CPU_SOURCES } from "../../../../src/native/sources.ts";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import type { Device } from "../../../../src/tensor/device.ts";
import { openNeonDevice } from "../../../aarch64/cpu_device.ts";
import { instructionSetFlags } from "../../native/_simd_harness.ts";

/**
 * Calls `run` with a CPU device of every instruction set that this machine has, and with one whose
 * kernels run on NEON in an emulator where there is one.
 */
export function forEachInstructionSet(
  options: { readonly threads: number },
  run: (device: Device, set: string) => void,
): void {
  for (const [set, flags] of Object.entries(instructionSetFlags())) {
    using device = openCpuDevice({ ...options, libraryPath: compileSources(CPU_SOURCES, flags) });
    run(device, set);
  }
  using neon = openNeonDevice("neon+bf16+dotprod+i8mm", options);
  if (neon !== null) run(neon, neon.description.instructionSet);
}
