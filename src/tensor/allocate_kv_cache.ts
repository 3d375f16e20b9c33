/**
 * Allocates a layer's KV cache, however a device lays it out.
 * @module
 */
import type { KvCacheLayer } from "./attention_kernels.ts";
import type { DeviceMemory } from "./device.ts";
import type { KvDType } from "./dtype.ts";
import { Tensor, type TensorOptions } from "./tensor.ts";

/** Keys and values as two tensors of `options`; neither stays when there is no memory for both. */
export function allocateKvCache(
  memory: DeviceMemory,
  dtype: KvDType,
  options: TensorOptions,
): KvCacheLayer {
  using keys = new DisposableStack();
  const layer = {
    keys: keys.use(Tensor.allocate(memory, options)),
    values: Tensor.allocate(memory, options),
    dtype,
  };
  keys.move();
  return layer;
}
