/**
 * The one place that chooses a backend.
 * @module
 */
import { openCpuDevice } from "./cpu/device.ts";
import { openCudaDevice } from "./cuda/device.ts";
import type { Device, DeviceKind } from "./device.ts";
import type { WeightDType } from "./dtype.ts";

/** Options of {@linkcode openDevice}. */
export interface OpenDeviceOptions {
  /** Backend. Default `cpu`. */
  readonly kind?: DeviceKind;
  /** CPU only: threads a kernel runs on. Default: one for each logical processor. */
  readonly threads?: number;
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
  const { kind = "cpu", threads, index, timeoutMs } = options;
  switch (kind) {
    case "cpu":
      return openCpuDevice({ threads });
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
