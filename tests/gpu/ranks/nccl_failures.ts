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
  /** Whether the sums are replayed from a recording. */
  recorded: boolean;
}

/** What a rank saw. */
export interface NcclFailure {
  operation: string;
  message: string;
  milliseconds: number;
  /** What the emulator holds against the rank. */
  misuses: string[];
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
    const sum = () => group.allReduce(address, 1);
    if (args.recorded) sum();
    using recording = args.recorded ? stream.record(sum) : null;
    for (let i = 0; i < 5; i++) {
      if (recording) recording.replay();
      else sum();
      stream.synchronize();
    }
    const milliseconds = performance.now() - start;
    return { operation: "none", message: "no failure", milliseconds, misuses: [] };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const operation = error instanceof CommunicatorError ? error.operation : error.name;
    const milliseconds = performance.now() - start;
    return { operation, message: error.message, milliseconds, misuses: controls.takeMisuses() };
  }
}
