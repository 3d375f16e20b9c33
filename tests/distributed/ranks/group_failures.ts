/** Groups that fail or split, one scenario a function; each rank reports what it saw. */
import { CommunicatorError } from "../../../src/distributed/communicator.ts";
import type { Communicator } from "../../../src/distributed/communicator.ts";
import { createDeviceMesh } from "../../../src/distributed/device_mesh.ts";
import type { RankContext } from "../../../src/distributed/launcher.ts";
import { SharedMemoryCommunicator } from "../../../src/distributed/shared_memory_communicator.ts";
import { createGroupRegion } from "../../../src/distributed/shared_memory_region.ts";
import { openCommunicationLibrary } from "../../../src/native/communication.ts";
import { SharedMemory } from "../../../src/native/shared_memory.ts";
import { addressOf } from "./reference.ts";

/** Message of the CommunicatorError that `run` throws, or what it did instead. */
function failureOf(run: () => void): string {
  try {
    run();
    return "no error";
  } catch (error) {
    if (!(error instanceof CommunicatorError)) throw error;
    return `${error.operation} ${error.rank}: ${error.message}`;
  }
}

function sum(group: Communicator, value: number): number {
  const buffer = Float32Array.of(value);
  group.allReduce(addressOf(buffer), 1);
  return buffer[0];
}

/** Sleeps in the operating system, as a rank that computes would keep its thread busy. */
function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

const DEADLINE_MS = 300;

/** Runs with a second group of the same ranks, whose deadline is short: it starts when all ranks are there. */
function withDeadline<Result>(world: Communicator, run: (group: Communicator) => Result): Result {
  const library = openCommunicationLibrary();
  const { rank, size } = world;
  using made = rank === 0 ? createGroupRegion(library, { size, channelBytes: 4096 }) : null;
  const path = made?.handle.path.split("/") ?? [];
  const place = Float64Array.of(Number(path[2]), Number(path[4]), made?.byteLength ?? 0);
  world.broadcast(addressOf(place), 3, { root: 0, dtype: "f64" });
  const [pid, descriptor, byteLength] = place;
  using memory = SharedMemory.open(library, { path: `/proc/${pid}/fd/${descriptor}`, byteLength });
  using group = new SharedMemoryCommunicator(library, {
    rank,
    size,
    memory,
    timeoutMs: DEADLINE_MS,
  });
  world.barrier();
  return run(group);
}

// A rank that is late comes when the others have given up: the world's barrier says when.
const scenarios = {
  treeOrder({ world }: RankContext): number {
    return sum(world, [1e8, 1, -1e8, 1][world.rank]);
  },
  late({ world }: RankContext): string[] {
    return withDeadline(world, (group) => {
      const buffer = new Float32Array(8);
      if (group.rank === 3) world.barrier();
      const first = failureOf(() => group.allReduce(addressOf(buffer), 8));
      if (group.rank !== 3) world.barrier();
      return [first, failureOf(() => group.barrier())];
    });
  },
  lateSender({ world }: RankContext): string {
    return withDeadline(world, (group) => {
      const buffer = new Float32Array(8);
      if (group.rank === 0) world.barrier();
      const message = failureOf(() => {
        if (group.rank === 0) group.send(addressOf(buffer), 8, { peer: 1 });
        else group.recv(addressOf(buffer), 8, { peer: 0 });
      });
      if (group.rank === 1) world.barrier();
      return message;
    });
  },
  lateReceiver({ world }: RankContext): string {
    return withDeadline(world, (group) => {
      const buffer = new Float32Array(100_000);
      if (group.rank === 1) world.barrier();
      const message = failureOf(() => {
        if (group.rank === 0) group.send(addressOf(buffer), 100_000, { peer: 1 });
        else group.barrier();
      });
      if (group.rank === 0) world.barrier();
      return message;
    });
  },
  differentCalls({ world }: RankContext): string {
    const buffer = new Float32Array(32);
    return failureOf(() => {
      if (world.rank === 2) world.allGather(addressOf(buffer), addressOf(buffer.subarray(16)), 8);
      else world.allReduce(addressOf(buffer), 8, { op: "max" });
    });
  },
  differentCounts({ world }: RankContext): string {
    const buffer = new Float32Array(8);
    return failureOf(() => world.broadcast(addressOf(buffer), 4 + world.rank, { root: 1 }));
  },
  differentMessage({ world }: RankContext): string {
    const buffer = new Float32Array(8);
    if (world.rank === 0) world.send(addressOf(buffer), 8, { peer: 1 });
    else return failureOf(() => world.recv(addressOf(buffer), 4, { peer: 0 }));
    return failureOf(() => world.barrier());
  },
  abort({ world }: RankContext): { message: string; waited: number } {
    const buffer = new Float32Array(8);
    world.barrier();
    const start = performance.now();
    const message = failureOf(() => {
      if (world.rank === 0) {
        pause(100);
        world.abort("enough");
        world.barrier();
      } else if (world.rank === 1) world.recv(addressOf(buffer), 8, { peer: 0 });
      else world.allReduce(addressOf(buffer), 8);
    });
    return { message, waited: performance.now() - start };
  },
  arguments({ world }: RankContext): string[] {
    const buffer = addressOf(new Float32Array(8));
    const messageOf = (run: () => void) => {
      try {
        run();
        return "no error";
      } catch (error) {
        return String(error);
      }
    };
    return [
      messageOf(() => world.allReduce(buffer, -1)),
      messageOf(() => world.allReduce(buffer, 2 ** 32)),
      messageOf(() => world.allReduce(buffer, 8, { dtype: "bf16" })),
      messageOf(() => world.broadcast(buffer, 8, { root: 2 })),
      messageOf(() => world.send(buffer, 8, { peer: world.rank })),
      messageOf(() => world.split(-1, 0)),
    ];
  },
  split({ world }: RankContext): unknown {
    // Odd ranks in reverse order; then the halves split again.
    const group = world.split(world.rank % 2, world.rank % 2 === 1 ? -world.rank : world.rank);
    const pair = group.split(Math.floor(group.rank / 2), 0);
    const alone = world.split(world.rank, 0);
    const sums = [sum(group, world.rank), sum(pair, world.rank), sum(alone, world.rank)];
    // Parents before children.
    group[Symbol.dispose]();
    const after = sum(pair, 1);
    pair[Symbol.dispose]();
    alone[Symbol.dispose]();
    return { place: [group.rank, group.size, pair.rank, pair.size], kind: alone.kind, sums, after };
  },
  splitFailure({ world }: RankContext): string {
    const group = world.split(Math.floor(world.rank / 2), 0);
    const buffer = new Float32Array(8);
    return failureOf(() => {
      if (world.rank < 2) group.recv(addressOf(buffer), 8, { peer: 1 - group.rank });
      else if (world.rank === 2) group.allReduce(addressOf(buffer), 8);
      else group.barrier();
    });
  },
  mesh({ world }: RankContext): unknown {
    using mesh = createDeviceMesh(world, {
      dataParallelSize: 2,
      pipelineParallelSize: 2,
      tensorParallelSize: 2,
    });
    return {
      ...mesh.coordinates,
      sums: [mesh.dataParallel, mesh.pipelineParallel, mesh.tensorParallel].map((group) =>
        sum(group, world.rank)
      ),
      ranks: [mesh.dataParallel.rank, mesh.pipelineParallel.rank, mesh.tensorParallel.rank],
    };
  },
};

/** Name of a scenario. */
export type Scenario = keyof typeof scenarios;

export function rankMain(context: RankContext<Scenario>): unknown {
  return scenarios[context.args](context);
}
