/**
 * The one place that chooses a backend.
 * @module
 */
import { openCpuDevice } from "./cpu/device.ts";
import type { Device } from "./device.ts";

/** Options of {@linkcode openDevice}. */
export interface OpenDeviceOptions {
  /** Backend; `auto` takes the best one there is, which is the CPU in this version. Default `auto`. */
  readonly kind?: "auto" | "cpu" | "cuda";
  /** CPU only: threads a kernel runs on. Default: one for each logical processor. */
  readonly threads?: number;
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
  const { kind = "auto", threads } = options;
  switch (kind) {
    case "auto":
    case "cpu":
      return openCpuDevice({ threads });
    case "cuda":
      throw new Error("Cannot open a CUDA device as this version has none: use --device cpu");
    default:
      throw new RangeError(`Cannot open a device of unknown kind: ${kind satisfies never}`);
  }
}
