import { compileSources } from "../../../../src/native/compile.ts";
import { bestInstructionSet } from "../../../../src/native/instruction_set.ts";
import { readProcessor } from "../../../../src/native/processor.ts";
import { CPU_SOURCES } from "../../../../src/native/sources.ts";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import type { Device } from "../../../../src/tensor/device.ts";
import { withAmxTwin } from "../../../amx_twin/sources.ts";

/** A CPU device whose kernels use matrix tiles, in plain C. */
export function openAmxTwinDevice(options: { readonly threads: number }): Device {
  const { flags } = bestInstructionSet(readProcessor(), { reason: "", except: "amx" });
  const libraryPath = compileSources(withAmxTwin(CPU_SOURCES), flags);
  return openCpuDevice({ ...options, libraryPath });
}
