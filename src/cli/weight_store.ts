/**
 * What replicas of this host share.
 * @module
 */
import type { DeviceChoice } from "../engine/device_choice.ts";
import { nativeLibraryPath } from "../native/native_library.ts";
import { WeightStore } from "../tensor/cpu/weight_store.ts";
import type { CliHost } from "./command.ts";

/** Compiles the native kernels when that was not done before, and says so; throws as `nativeLibraryPath` does. */
export function compileKernels(host: CliHost): void {
  nativeLibraryPath({
    onCompile: ({ command }) =>
      host.log.info(`compiling the CPU kernels with ${command}, once for this machine`),
  });
}

/** A store of packed weights for several replicas; null where they can share none: on GPUs, or in WebAssembly. */
export function openWeightStore(choice: DeviceChoice, host: CliHost): WeightStore | null {
  if (choice.kind !== "cpu" || choice.wasm) return null;
  compileKernels(host);
  return WeightStore.create();
}
