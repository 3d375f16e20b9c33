/** Runs a list of collectives and reports those whose result differs from the reference. */
import type { RankContext } from "../../../src/distributed/launcher.ts";
import type { Communicator, ReduceOp } from "../../../src/distributed/communicator.ts";
import {
  addressOf,
  elements,
  inputOf,
  type ReferenceType,
  sameBits,
  treeReduce,
} from "./reference.ts";

/** One collective. */
export interface CollectiveCase {
  operation: "allReduce" | "allGather" | "reduceScatter" | "broadcast" | "shift" | "barrier";
  dtype: ReferenceType;
  op: ReduceOp;
  count: number;
  root: number;
  seed: number;
  inPlace: boolean;
}

export function rankMain({ world, args }: RankContext<CollectiveCase[]>): CollectiveCase[] {
  return args.filter((collective) => !isCorrect(world, collective));
}

function isCorrect(world: Communicator, collective: CollectiveCase): boolean {
  const { rank, size } = world;
  const { operation, dtype, op, count, seed, inPlace } = collective;
  const input = (rank: number, count: number) => inputOf(dtype, count, { seed, rank });
  const all = (count: number) => Array.from({ length: size }, (_, rank) => input(rank, count));
  switch (operation) {
    case "allReduce": {
      const buffer = input(rank, count);
      world.allReduce(addressOf(buffer), count, { dtype, op });
      return sameBits(buffer, treeReduce(all(count), op));
    }
    case "allGather": {
      const output = elements(dtype, size * count);
      const own = inPlace
        ? output.subarray(rank * count, (rank + 1) * count)
        : elements(dtype, count);
      own.set(input(rank, count) as never);
      world.allGather(addressOf(output), addressOf(own), count, { dtype });
      return all(count).every((part, peer) =>
        sameBits(part, output.subarray(peer * count, (peer + 1) * count))
      );
    }
    case "reduceScatter": {
      const buffer = input(rank, size * count);
      const output = inPlace
        ? buffer.subarray(rank * count, (rank + 1) * count)
        : elements(dtype, count);
      world.reduceScatter(addressOf(output), addressOf(buffer), count, { dtype, op });
      const whole = treeReduce(all(size * count), op);
      return sameBits(output, whole.subarray(rank * count, (rank + 1) * count));
    }
    case "broadcast": {
      const root = collective.root % size;
      const buffer = rank === root ? input(root, count) : elements(dtype, count);
      world.broadcast(addressOf(buffer), count, { root, dtype });
      return sameBits(buffer, input(root, count));
    }
    case "shift": {
      // Around the ring; even ranks send first, so that messages may exceed the channels.
      if (size === 1) return true;
      const next = (rank + 1) % size;
      const previous = (rank + size - 1) % size;
      const buffer = elements(dtype, count);
      const sent = input(rank, count);
      const send = () => world.send(addressOf(sent), count, { peer: next, dtype });
      const recv = () => world.recv(addressOf(buffer), count, { peer: previous, dtype });
      for (const step of rank % 2 === 0 ? [send, recv] : [recv, send]) step();
      return sameBits(buffer, input(previous, count));
    }
    case "barrier":
      world.barrier();
      return true;
  }
}
