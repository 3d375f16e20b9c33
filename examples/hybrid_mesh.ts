// Eight ranks as 2 (data) x 2 (pipeline) x 2 (tensor): where each stands, and the sum of the world ranks
// along each axis.
import { type Communicator, createDeviceMesh, launchRanks, openDevice } from "../mod.ts";
import { type RankContext, Tensor } from "../mod.ts";

export function rankMain({ world }: RankContext): string {
  using device = openDevice({ kind: "cpu", threads: 1 });
  using value = Tensor.allocate(device, { shape: [1] });
  using mesh = createDeviceMesh(world, {
    dataParallelSize: 2,
    pipelineParallelSize: 2,
    tensorParallelSize: 2,
  });

  const sumOver = (group: Communicator): number => {
    value.upload(Float32Array.of(world.rank));
    group.allReduce(value.address, 1);
    return value.download(new Float32Array(1))[0];
  };
  const { dataParallelRank, pipelineParallelRank, tensorParallelRank } = mesh.coordinates;
  return `rank ${world.rank}: data ${dataParallelRank} pipeline ${pipelineParallelRank} ` +
    `tensor ${tensorParallelRank}, sums: data ${sumOver(mesh.dataParallel)} ` +
    `pipeline ${sumOver(mesh.pipelineParallel)} tensor ${sumOver(mesh.tensorParallel)}`;
}

if (import.meta.main) {
  await using ranks = launchRanks<string>(import.meta.url, { size: 8 });
  for (const line of await ranks.results) console.log(line);
}
