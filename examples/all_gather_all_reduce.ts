// Four ranks hold [1,1], [2,2], [3,3] and [4,4]: all-gather concatenates them, all-reduce adds them.
import { launchRanks, openDevice, type RankContext, Tensor } from "../mod.ts";

export function rankMain({ world }: RankContext): { gathered: number[]; sum: number[] } {
  using device = openDevice({ kind: "cpu", threads: 1 });
  using own = Tensor.allocate(device, { shape: [2] });
  using gathered = Tensor.allocate(device, { shape: [world.size, 2] });
  own.upload(Float32Array.of(world.rank + 1, world.rank + 1));

  world.allGather(gathered.address, own.address, own.size);
  world.allReduce(own.address, own.size);

  return {
    gathered: [...gathered.download(new Float32Array(gathered.size))],
    sum: [...own.download(new Float32Array(own.size))],
  };
}

if (import.meta.main) {
  await using ranks = launchRanks<ReturnType<typeof rankMain>>(import.meta.url, { size: 4 });
  for (const [rank, { gathered, sum }] of (await ranks.results).entries()) {
    console.log(`rank ${rank}: all-gather [${gathered}] all-reduce [${sum}]`);
  }
}
