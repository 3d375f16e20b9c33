/**
 * The one place that chooses a backend.
 * @module
 */
import { nativeObstacle } from "../native/native_library.ts";
import { openCpuDevice } from "./cpu/device.ts";
import type { SharedPanels } from "./cpu/panel_memory.ts";
import { openWasmDevice } from "./cpu/wasm_device.ts";
import { openCudaDevice } from "./cuda/device.ts";
import type { Device, DeviceKind } from "./device.ts";
import type { WeightDType } from "./dtype.ts";

/** Where to compute, as it is asked for: `wasm` is the CPU through WebAssembly. */
export type DeviceName = DeviceKind | "wasm";

/** Options of {@linkcode openDevice}. */
export interface OpenDeviceOptions {
  /** Backend. Default `cpu`: `wasm` where the native kernels cannot be compiled. */
  readonly kind?: DeviceName;
  /** CPU only: threads a kernel runs on. Default: one for each logical processor. */
  readonly threads?: number;
  /** CPU only, with native kernels: takes packed weights that replicas share; outlives the device. */
  readonly sharedPanels?: SharedPanels;
  /** `wasm` only: memory that it shares with other ranks; one of its own when left out. */
  readonly wasmMemory?: WebAssembly.Memory;
  /** GPU only: which of the process's GPUs, from 0. Default 0. */
  readonly index?: number;
  /** GPU only: deadline of waits for its work, in milliseconds. Default 600000. */
  readonly timeoutMs?: number;
}

/**
 * Opens a device. Throws when the backend that was asked for is not there.
 *
 * @example
 * ```ts
 * import { openDevice } from "@weft/weft";
 * using device = openDevice({ kind: "cpu", threads: 2 });
 * console.log(device.description.instructionSet);
 * ```
 */
export function openDevice(options: OpenDeviceOptions = {}): Device {
  const { kind = "cpu", threads, sharedPanels, wasmMemory, index, timeoutMs } = options;
  switch (kind) {
    case "cpu":
      return nativeObstacle() === null
        ? openCpuDevice({ threads, sharedPanels })
        : openWasmDevice({ threads, memory: wasmMemory });
    case "wasm":
      return openWasmDevice({ threads, memory: wasmMemory });
    case "cuda":
      return openCudaDevice({ index, timeoutMs });
    default:
      throw new RangeError(`Cannot open a device of unknown kind: ${kind satisfies never}`);
  }
}

/** What `Device.activationDtype` of a device of this kind says, before there is one. */
export function activationDtypeOf(kind: DeviceKind, weights: WeightDType): WeightDType {
  return kind === "cuda" ? weights : "f32";
}
