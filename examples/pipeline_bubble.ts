// A pipeline of 4 stages that each wait 20 ms per micro-batch. A stage idles while the first micro-batch
// comes down to it and after its last one has gone: of P - 1 + M slots it works in M.
import { launchRanks, openDevice, type RankContext, Tensor } from "../mod.ts";

const STAGES = 4;
const STAGE_MS = 20;

export function rankMain({ world, args }: RankContext<{ microBatches: number }>): number {
  using device = openDevice({ kind: "cpu", threads: 1 });
  using activations = Tensor.allocate(device, { shape: [64] });
  const { rank, size } = world;
  world.barrier();
  const start = performance.now();
  let working = 0;
  for (let batch = 0; batch < args.microBatches; batch++) {
    if (rank > 0) world.recv(activations.address, 64, { peer: rank - 1 });
    const begin = performance.now();
    // The stage's work: a wait, so that four stages run at once on any machine.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STAGE_MS);
    working += performance.now() - begin;
    if (rank < size - 1) world.send(activations.address, 64, { peer: rank + 1 });
  }
  world.barrier();
  return 1 - working / (performance.now() - start);
}

if (import.meta.main) {
  for (const microBatches of [1, 4, 16]) {
    const options = { size: STAGES, args: { microBatches } };
    await using ranks = launchRanks<number>(import.meta.url, options);
    const idle = await ranks.results;
    const measured = idle.reduce((sum, share) => sum + share, 0) / STAGES;
    const expected = (STAGES - 1) / (STAGES - 1 + microBatches);
    console.log(
      `${microBatches} micro-batches: bubble ${measured.toFixed(3)}, (P-1)/(P-1+M) = ${
        expected.toFixed(3)
      }`,
    );
  }
}
