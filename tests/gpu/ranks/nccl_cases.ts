/** Collectives between GPUs; each rank reports those whose result differs from the reference. */
import type { Communicator, ReduceOp } from "../../../src/distributed/communicator.ts";
import { createDeviceMesh } from "../../../src/distributed/device_mesh.ts";
import type { RankContext } from "../../../src/distributed/launcher.ts";
import { NcclCommunicator } from "../../../src/distributed/nccl_communicator.ts";
import { openCudaContext } from "../../../src/tensor/cuda/open_context.ts";
import type { CudaMemory } from "../../../src/tensor/cuda/memory.ts";
import type { CudaStream } from "../../../src/tensor/cuda/stream.ts";
import type { DeviceMemory } from "../../../src/tensor/device.ts";
import {
  elements,
  inputOf,
  type ReferenceArray,
  type ReferenceType,
  treeReduce,
} from "../../distributed/ranks/reference.ts";
import { ncclDevice } from "../_nccl_device.ts";

/** One collective. */
export interface NcclCase {
  operation: "allReduce" | "allGather" | "reduceScatter" | "broadcast" | "shift";
  dtype: ReferenceType;
  op: ReduceOp;
  count: number;
  seed: number;
  /** Queued by replaying a recording of it. */
  recorded: boolean;
  /** In memory that NCCL has registered. */
  registered: boolean;
}

export function rankMain({ world, args }: RankContext<NcclCase[]>): string[] {
  using opened = openCudaContext({ index: world.rank, timeoutMs: 20_000 });
  const { memory, stream } = opened.context;
  using group = NcclCommunicator.create(world, ncclDevice(memory, stream), { timeoutMs: 20_000 });
  const wrong = args.filter((args) => !isCorrect(group, { memory, stream }, args))
    .map((args) => JSON.stringify(args));
  return [...wrong, ...checkMesh(group, memory)];
}

function isCorrect(
  group: Communicator,
  gpu: { memory: CudaMemory; stream: CudaStream },
  { operation, dtype, op, count, seed, recorded, registered }: NcclCase,
): boolean {
  const { rank, size } = group;
  const input = (rank: number, count: number) => inputOf(dtype, count, { seed, rank });
  const all = (count: number) => Array.from({ length: size }, (_, rank) => input(rank, count));
  const inputCount = operation === "reduceScatter" ? size * count : count;
  const outputCount = operation === "allGather" ? size * count : count;
  const memory = registered ? group.reducedMemory!(gpu.memory) : gpu.memory;
  using source = buffer(memory, input(rank, inputCount));
  using target = buffer(memory, elements(dtype, outputCount));
  const run = () => {
    switch (operation) {
      case "allReduce":
        return group.allReduce(source.address, count, { dtype, op });
      case "allGather":
        return group.allGather(target.address, source.address, count, { dtype });
      case "reduceScatter":
        return group.reduceScatter(target.address, source.address, count, { dtype, op });
      case "broadcast":
        return group.broadcast(source.address, count, { root: size - 1, dtype });
      case "shift": {
        const send = () => group.send(source.address, count, { peer: (rank + 1) % size, dtype });
        const recv = () =>
          group.recv(target.address, count, { peer: (rank + size - 1) % size, dtype });
        for (const step of rank % 2 === 0 ? [send, recv] : [recv, send]) step();
      }
    }
  };
  if (recorded) {
    using recording = gpu.stream.record(run);
    recording.replay();
    gpu.stream.synchronize();
  } else run();
  switch (operation) {
    case "allReduce":
      return isClose(source.read(elements(dtype, count)), treeReduce(all(count), op), all(count));
    case "allGather": {
      const output = target.read(elements(dtype, outputCount));
      return all(count).every((part, peer) =>
        isClose(output.subarray(peer * count, (peer + 1) * count), part)
      );
    }
    case "reduceScatter": {
      const whole = treeReduce(all(inputCount), op);
      const want = whole.subarray(rank * count, (rank + 1) * count);
      const terms = all(inputCount).map((part) => part.subarray(rank * count, (rank + 1) * count));
      return isClose(target.read(elements(dtype, count)), want, terms);
    }
    case "broadcast":
      return isClose(source.read(elements(dtype, count)), input(size - 1, count));
    case "shift":
      return isClose(target.read(elements(dtype, count)), input((rank + size - 1) % size, count));
  }
}

/** The groups of a mesh, which are split from `world`, hold who they should. */
function checkMesh(world: Communicator, memory: CudaMemory): string[] {
  if (world.size !== 4) return [];
  using mesh = createDeviceMesh(world, { pipelineParallelSize: 2, tensorParallelSize: 2 });
  const sumOver = (group: Communicator) => {
    using value = buffer(memory, Float32Array.of(world.rank));
    group.allReduce(value.address, 1);
    return value.read(new Float32Array(1))[0];
  };
  const sums = [sumOver(mesh.tensorParallel), sumOver(mesh.pipelineParallel)];
  const { rank } = world;
  const want = [rank < 2 ? 1 : 5, rank % 2 === 0 ? 2 : 4];
  return sums.join() === want.join() ? [] : [`mesh of rank ${rank}: ${sums}`];
}

function buffer(memory: DeviceMemory, contents: ReferenceArray) {
  const address = memory.allocate(Math.max(8, contents.byteLength));
  memory.upload(address, contents);
  return {
    address,
    read<T extends ReferenceArray>(into: T): T {
      memory.download(into, address);
      return into;
    },
    [Symbol.dispose]: () => memory.free(address),
  };
}

/**
 * NCCL adds in an order of its own: a sum of floats may differ by the rounding of its terms, whose
 * magnitudes are in `terms`. Everything else is exact.
 */
function isClose(
  actual: ReferenceArray,
  expected: ReferenceArray,
  terms: readonly ReferenceArray[] = [],
): boolean {
  const rounding = expected instanceof Float32Array ? 2 ** -22 : 2 ** -50;
  return expected.every((value, i) => {
    if (typeof value === "bigint" || !isFloat(expected)) return actual[i] === value;
    const magnitude = terms.reduce((sum, term) => sum + Math.abs(Number(term[i])), 0);
    return Math.abs(Number(actual[i]) - value) <= rounding * magnitude;
  });
}

function isFloat(values: ReferenceArray): boolean {
  return values instanceof Float32Array || values instanceof Float64Array;
}
