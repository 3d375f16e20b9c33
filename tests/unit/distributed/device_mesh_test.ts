import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { createDeviceMesh, meshCoordinates } from "../../../src/distributed/device_mesh.ts";
import { SingleRankCommunicator } from "../../../src/distributed/single_rank_communicator.ts";

const size = fc.integer({ min: 1, max: 5 });

Deno.test("every rank has its own coordinates, tensor-parallel neighbours first", () => {
  fc.assert(fc.property(size, size, size, (data, pipeline, tensor) => {
    const sizes = {
      dataParallelSize: data,
      pipelineParallelSize: pipeline,
      tensorParallelSize: tensor,
    };
    for (let rank = 0; rank < data * pipeline * tensor; rank++) {
      const at = meshCoordinates(rank, sizes);
      assertEquals(
        (at.dataParallelRank * pipeline + at.pipelineParallelRank) * tensor + at.tensorParallelRank,
        rank,
      );
      assertEquals(at.tensorParallelRank < tensor && at.pipelineParallelRank < pipeline, true);
    }
  }));
});

Deno.test("a rank outside the mesh has no coordinates", () => {
  const sizes = { dataParallelSize: 1, pipelineParallelSize: 2, tensorParallelSize: 2 };
  const message =
    "Cannot place a rank on the mesh data 1 x pipeline 2 x tensor 2: 4 is not in 0..3";
  assertThrows(() => meshCoordinates(4, sizes), RangeError, message);
});

Deno.test("a mesh of one rank has three groups of one", () => {
  using world = new SingleRankCommunicator();
  using mesh = createDeviceMesh(world);
  assertEquals([mesh.dataParallel.size, mesh.pipelineParallel.size, mesh.tensorParallel.size], [
    1,
    1,
    1,
  ]);
  assertEquals(mesh.world, world);
});

Deno.test("sizes that don't fit the world are refused by their numbers", () => {
  using world = new SingleRankCommunicator();
  assertThrows(
    () => createDeviceMesh(world, { pipelineParallelSize: 2, tensorParallelSize: 3 }),
    RangeError,
    "Cannot form a mesh of 1 ranks as its sizes multiply to 6: data 1 x pipeline 2 x tensor 3",
  );
  assertThrows(
    () => createDeviceMesh(world, { tensorParallelSize: 0 }),
    RangeError,
    "its sizes are not integers from 1: data 1 x pipeline 1 x tensor 0",
  );
});
