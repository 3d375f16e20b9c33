/** The ranks that collectives_bench.ts times. */
import type { Communicator } from "../src/distributed/communicator.ts";
import type { RankContext } from "../src/distributed/launcher.ts";
import { openCpuDevice } from "../src/tensor/cpu/device.ts";

/** What is timed. */
export type BenchmarkedOperation = "all_reduce" | "all_gather" | "send/recv";

/** Bytes a rank contributes, and how long to measure one size. */
export interface CollectiveBenchmark {
  readonly operation: BenchmarkedOperation;
  readonly sizes: readonly number[];
  readonly budgetMs: number;
}

/** Median time of one call in microseconds, one per size. */
export function rankMain({ world, args }: RankContext<CollectiveBenchmark>): number[] {
  using device = openCpuDevice({ threads: 1 });
  return args.sizes.map((bytes) => {
    const input = device.allocate(bytes);
    const output = device.allocate(bytes * world.size);
    device.upload(input, new Float32Array(bytes / 4));
    const run = () => runOnce(world, args.operation, { input, output, count: bytes / 4 });
    const time = measure(world, run, args.budgetMs);
    device.free(output);
    device.free(input);
    return time;
  });
}

function runOnce(
  world: Communicator,
  operation: BenchmarkedOperation,
  buffers: { input: bigint; output: bigint; count: number },
): void {
  const { input, output, count } = buffers;
  switch (operation) {
    case "all_reduce":
      return world.allReduce(input, count);
    case "all_gather":
      return world.allGather(output, input, count);
    case "send/recv": {
      // There and back between neighbours: two transfers a call.
      const peer = world.rank ^ 1;
      if (world.rank % 2 === 0) {
        world.send(input, count, { peer });
        world.recv(input, count, { peer });
      } else {
        world.recv(output, count, { peer });
        world.send(output, count, { peer });
      }
    }
  }
}

/** Every rank makes the same number of calls; batches of calls, so that the clock costs nothing. */
function measure(world: Communicator, run: () => void, budgetMs: number): number {
  run();
  world.barrier();
  const begin = performance.now();
  for (let index = 0; index < 3; index++) run();
  const estimate = Float64Array.of((performance.now() - begin) / 3);
  const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(estimate));
  world.broadcast(address, 1, { root: 0, dtype: "f64" });
  const batches = 7;
  const calls = Math.max(1, Math.floor(budgetMs / batches / estimate[0]));
  const times: number[] = [];
  for (let batch = 0; batch < batches; batch++) {
    world.barrier();
    const start = performance.now();
    for (let call = 0; call < calls; call++) run();
    times.push(((performance.now() - start) / calls) * 1e3);
  }
  return times.sort((a, b) => a - b)[batches >> 1];
}
