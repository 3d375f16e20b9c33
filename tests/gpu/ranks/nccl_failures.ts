/** Sums over GPUs while something fails; each rank reports what it saw and how long that took. */
import { CommunicatorError } from "../../../src/distributed/communicator.ts";
import type { RankContext } from "../../../src/distributed/launcher.ts";
import { NcclCommunicator } from "../../../src/distributed/nccl_communicator.ts";
import { openCudaContext } from "../../../src/tensor/cuda/open_context.ts";
import { EmulatorControls } from "../../cuda_emulator/controls.ts";
import { ncclDevice } from "../_nccl_device.ts";

/** What fails, and where. */
export interface NcclFailureCase {
  /** For the emulator, as its README describes. */
  failures: string;
  /** Rank that meets the failure. */
  failingRank: number;
  /** The emulated libcudart. */
  cudartPath: string;
}

/** What a rank saw. */
export interface NcclFailure {
  operation: string;
  message: string;
  milliseconds: number;
}

const DEADLINE_MS = 1500;

export function rankMain({ world, args }: RankContext<NcclFailureCase>): NcclFailure {
  using controls = new EmulatorControls(args.cudartPath);
  using opened = openCudaContext({ index: world.rank, timeoutMs: DEADLINE_MS });
  if (world.rank === args.failingRank) controls.injectFailures(args.failures);
  const { memory, stream } = opened.context;
  const address = memory.allocate(4);
  memory.upload(address, Float32Array.of(1));
  world.barrier();
  const start = performance.now();
  try {
    const device = ncclDevice(memory, stream);
    using group = NcclCommunicator.create(world, device, { timeoutMs: DEADLINE_MS });
    for (let i = 0; i < 5; i++) {
      group.allReduce(address, 1);
      stream.synchronize();
    }
    return { operation: "none", message: "no failure", milliseconds: performance.now() - start };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const operation = error instanceof CommunicatorError ? error.operation : error.name;
    return { operation, message: error.message, milliseconds: performance.now() - start };
  }
}
