import type { RankContext } from "../../src/distributed/launcher.ts";
import { NcclCommunicator } from "../../src/distributed/nccl_communicator.ts";
import { openCudaDevice } from "../../src/tensor/cuda/device.ts";

/** What each rank measures. */
export interface NcclArguments {
  /** GPU of each rank; ranks share one where NCCL allows it. */
  readonly gpus: readonly number[];
  /** Elements of f32 to sum. */
  readonly counts: readonly number[];
  /** Operations in one recording. */
  readonly operations: number;
  /** Recordings that are replayed, the same on every rank. */
  readonly replays: number;
}

/** Seconds of one all-reduce of each count, in recordings. */
export function rankMain({ world, args }: RankContext<NcclArguments>): number[] {
  const { gpus, counts, operations, replays } = args;
  using device = openCudaDevice({ index: gpus[world.rank], timeoutMs: 30_000 });
  using communicator = NcclCommunicator.create(world, device, { timeoutMs: 30_000 });
  return counts.map((count) => {
    const memory = communicator.reducedMemory(device);
    const buffer = memory.allocate(4 * count);
    device.upload(buffer, new Float32Array(count));
    communicator.allReduce(buffer, count);
    device.synchronize();
    const replaySeconds = () => {
      using recording = device.record(() => {
        for (let i = 0; i < operations; i++) communicator.allReduce(buffer, count);
      });
      recording.replay();
      device.synchronize();
      world.barrier();
      const start = performance.now();
      for (let i = 0; i < replays; i++) recording.replay();
      device.synchronize();
      return (performance.now() - start) / 1000 / replays;
    };
    const seconds = replaySeconds();
    memory.free(buffer);
    return seconds / operations;
  });
}
