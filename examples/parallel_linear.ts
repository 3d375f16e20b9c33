// A column-parallel 768 -> 3072 and a row-parallel 3072 -> 768 layer on 4 ranks, against one rank.
import { ColumnParallelLinear, type Communicator, launchRanks, MemoryWeights } from "../mod.ts";
import { openDevice, type RankContext, RowParallelLinear, SingleRankCommunicator } from "../mod.ts";
import { Tensor } from "../mod.ts";

const wave = (size: number, step: number) =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(i * step));
const weights = new MemoryWeights({
  "up.weight": { shape: [3072, 768], data: wave(3072 * 768, 0.7) },
  "down.weight": { shape: [768, 3072], data: wave(768 * 3072, 0.3) },
});

function forward(tensorParallel: Communicator): Float32Array {
  using device = openDevice({ kind: "cpu", threads: 1 });
  const context = { device, tensorParallel, weights, format: null, maxRows: 4 };
  using up = new ColumnParallelLinear(context, { name: "up", inFeatures: 768, outFeatures: 3072 });
  using down = new RowParallelLinear(context, { name: "down", inFeatures: 3072, outFeatures: 768 });
  using x = Tensor.allocate(device, { shape: [4, 768] });
  using hidden = Tensor.allocate(device, { shape: [4, up.outFeatures] });
  using y = Tensor.allocate(device, { shape: [4, 768] });
  x.upload(wave(4 * 768, 0.1));
  up.forward(hidden, x, 4); // each rank: a quarter of the 3072 columns
  down.forward(y, hidden, 4); // partial products, summed over the ranks
  return y.download(new Float32Array(4 * 768));
}

export const rankMain = ({ world }: RankContext) => [...forward(world)];

if (import.meta.main) {
  const dense = forward(new SingleRankCommunicator());
  await using ranks = launchRanks<number[]>(import.meta.url, { size: 4 });
  for (const [rank, y] of (await ranks.results).entries()) {
    console.log(`rank ${rank} equals dense: ${dense.every((value, i) => value === y[i])}`);
  }
}
