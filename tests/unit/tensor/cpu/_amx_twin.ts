import { compileSources } from "../../../../src/native/compile.ts";
import { bestInstructionSet } from "../../../../src/native/instruction_set.ts";
import { readProcessor } from "../../../../src/native/processor.ts";
import { CPU_SOURCES } from "../../../../src/native/sources.ts";
import { type CpuDevice, openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import { withAmxTwin } from "../../../amx_twin/sources.ts";

/** A CPU device whose kernels use matrix tiles, in plain C. */
export function openAmxTwinDevice(options: { readonly threads: number }): CpuDevice {
  const { flags } = bestInstructionSet(readProcessor(), { reason: "", except: "amx" });
  // Less optimisation compiles faster; the results are the same bits.
  const libraryPath = compileSources(withAmxTwin(CPU_SOURCES), [...flags, "-O1"]);
  return openCpuDevice({ ...options, libraryPath });
}
