/**
 * In which type keys and values are kept.
 * @module
 */
import type { DeviceKind } from "../tensor/device.ts";
import type { KvDType, WeightDType } from "../tensor/dtype.ts";

/** What the choice follows from. */
export interface KvCacheContext {
  /** Where they are kept. */
  readonly device: DeviceKind;
  /** Type in which most weights are multiplied. */
  readonly computeDtype: WeightDType;
  /** Type of the activations. */
  readonly activationDtype: WeightDType;
}

/**
 * Settles `requested`: `auto` keeps on a CPU what products round to, bf16, and f32 where they are exact; on
 * GPUs the activations' type. Throws RangeError for what the device can't keep.
 */
export function kvCacheDtype(
  requested: "auto" | KvDType,
  { device, computeDtype, activationDtype }: KvCacheContext,
): KvDType {
  if (device === "cuda") {
    if (requested === "auto" || requested === activationDtype) return activationDtype;
    throw new RangeError(
      `Cannot follow kvCacheDtype as GPUs keep keys and values in the activations' type ` +
        `${activationDtype}: current value is ${requested}`,
    );
  }
  if (requested === "auto") return computeDtype === "bf16" ? "bf16" : "f32";
  if (requested !== "f16") return requested;
  throw new RangeError(
    "Cannot follow kvCacheDtype as a CPU keeps keys and values in f32, bf16 or int8: current value is f16",
  );
}
