/**
 * What moves data between the devices of a group of ranks.
 * @module
 */
import { isCudaDevice } from "../tensor/cuda/device.ts";
import type { Device } from "../tensor/device.ts";
import type { Communicator } from "./communicator.ts";
import { NcclCommunicator } from "./nccl_communicator.ts";
import { SingleRankCommunicator } from "./single_rank_communicator.ts";

/**
 * A communicator over the device memory of the ranks of `world`, whose own buffers are host memory: for
 * the CPU that is `world` itself, to be disposed by its owner only. Every rank calls it.
 */
export function openDeviceCommunicator(
  world: Communicator,
  device: Device,
  options: { readonly timeoutMs: number },
): Communicator {
  if (!isCudaDevice(device)) return world;
  if (world.size === 1) return new SingleRankCommunicator({ copy: device.copy });
  return NcclCommunicator.create(world, device, options);
}
