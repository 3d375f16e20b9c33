/**
 * Stand-ins with which a model can be built without memory or weights, to see what it would hold.
 * @module
 */
import type { Communicator } from "../distributed/communicator.ts";
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import type { Device } from "../tensor/device.ts";
import { dtypeBytes } from "../tensor/dtype.ts";
import { Tensor } from "../tensor/tensor.ts";

/** What was loaded so far. */
export interface MeasuredBytes {
  /** Bytes of weights. */
  weightBytes: number;
  /** Bytes of key and value blocks. */
  kvBytes: number;
}

/** A place in a group; building a model asks for no more of a communicator. */
export function placeInGroup(rank: number, size: number): Communicator {
  const communicator: Partial<Communicator> = { rank, size };
  return communicator as Communicator;
}

/** A device that adds up in `total` what is loaded. It has what building a model needs and no kernels. */
export function measuringDevice(
  total: MeasuredBytes = { weightBytes: 0, kvBytes: 0 },
): Device {
  const device: Partial<Device> = {
    kind: "cpu",
    allocate: () => 0n,
    free: () => {},
    upload: () => {},
    copy: () => {},
    linearWeight(parts, format) {
      for (const { rows, columns, dtype } of parts) {
        // A wider format is made in registers, from what is stored.
        total.weightBytes += rows * columns * Math.min(dtypeBytes(dtype), dtypeBytes(format));
      }
      return {
        format,
        outFeatures: parts.reduce((sum, { rows }) => sum + rows, 0),
        inFeatures: parts[0].columns,
        [Symbol.dispose]() {},
      };
    },
    vector(source) {
      total.weightBytes += source.length * dtypeBytes("f32");
      return Tensor.view(device as Device, 0n, { shape: [source.length] });
    },
    kvCache(numBlocks, { numKvHeads, headDim, dtype }) {
      const shape = [numBlocks, KV_BLOCK_SIZE, numKvHeads, headDim];
      const cache = Tensor.view(device as Device, 0n, { shape, dtype });
      total.kvBytes += 2 * cache.size * dtypeBytes(dtype);
      return { keys: cache, values: cache };
    },
  };
  return device as Device;
}
