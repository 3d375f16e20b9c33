/**
 * The device mesh: every rank's place on the axes of data, pipeline and tensor parallelism.
 * @module
 */
import type { Communicator } from "./communicator.ts";

/** Number of ranks along each axis. */
export interface MeshSizes {
  /** Copies of the model. */
  readonly dataParallelSize: number;
  /** Stages that a copy's layers are cut into. */
  readonly pipelineParallelSize: number;
  /** Ranks that share each layer. */
  readonly tensorParallelSize: number;
}

/** A rank's place on each axis. */
export interface MeshCoordinates {
  /** Which copy of the model. */
  readonly dataParallelRank: number;
  /** Which stage. */
  readonly pipelineParallelRank: number;
  /** Which part of each layer. */
  readonly tensorParallelRank: number;
}

/**
 * The place of world rank `rank`: rank = (data * pipelineSize + stage) * tensorSize + part, so that the
 * ranks that exchange most are neighbours. Throws RangeError when the rank is outside the mesh.
 */
export function meshCoordinates(rank: number, sizes: MeshSizes): MeshCoordinates {
  const { dataParallelSize, pipelineParallelSize, tensorParallelSize } = sizes;
  const worldSize = dataParallelSize * pipelineParallelSize * tensorParallelSize;
  if (!Number.isInteger(rank) || rank < 0 || rank >= worldSize) {
    throw new RangeError(
      `Cannot place a rank on the mesh ${describe(sizes)}: ${rank} is not in 0..${worldSize - 1}`,
    );
  }
  const stage = Math.floor(rank / tensorParallelSize);
  return {
    dataParallelRank: Math.floor(stage / pipelineParallelSize),
    pipelineParallelRank: stage % pipelineParallelSize,
    tensorParallelRank: rank % tensorParallelSize,
  };
}

/** A rank's coordinates, and its communicators along each axis. Disposing closes these, not the world. */
export interface DeviceMesh extends Disposable {
  /** All ranks of the mesh. */
  readonly world: Communicator;
  /** Size of each axis. */
  readonly sizes: MeshSizes;
  /** This rank's place. */
  readonly coordinates: MeshCoordinates;
  /** The ranks that hold the same part of the same stage in each copy. */
  readonly dataParallel: Communicator;
  /** The ranks that hold this part of every stage of this copy, in the order of the stages. */
  readonly pipelineParallel: Communicator;
  /** The ranks that share this stage's layers. */
  readonly tensorParallel: Communicator;
}

/**
 * Splits `world` into the groups of each axis; every rank of the world takes part. Sizes that are left out
 * are 1; throws RangeError when they don't multiply to the size of the world.
 *
 * @example
 * ```ts
 * import { createDeviceMesh, type RankContext } from "@weft/weft";
 * export function rankMain({ world }: RankContext): number {
 *   using mesh = createDeviceMesh(world, { pipelineParallelSize: 2, tensorParallelSize: 2 });
 *   return mesh.coordinates.pipelineParallelRank;
 * }
 * ```
 */
export function createDeviceMesh(
  world: Communicator,
  options: Partial<MeshSizes> = {},
): DeviceMesh {
  const sizes: MeshSizes = {
    dataParallelSize: options.dataParallelSize ?? 1,
    pipelineParallelSize: options.pipelineParallelSize ?? 1,
    tensorParallelSize: options.tensorParallelSize ?? 1,
  };
  checkSizes(sizes, world.size);
  const coordinates = meshCoordinates(world.rank, sizes);
  const { dataParallelRank, pipelineParallelRank, tensorParallelRank } = coordinates;
  const { pipelineParallelSize, tensorParallelSize } = sizes;
  using groups = new DisposableStack();
  const tensorParallel = groups.use(
    world.split(dataParallelRank * pipelineParallelSize + pipelineParallelRank, tensorParallelRank),
  );
  const pipelineParallel = groups.use(
    world.split(dataParallelRank * tensorParallelSize + tensorParallelRank, pipelineParallelRank),
  );
  const dataParallel = groups.use(
    world.split(pipelineParallelRank * tensorParallelSize + tensorParallelRank, dataParallelRank),
  );
  const owned = groups.move();
  return {
    world,
    sizes,
    coordinates,
    dataParallel,
    pipelineParallel,
    tensorParallel,
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function checkSizes(sizes: MeshSizes, worldSize: number): void {
  const all = [sizes.dataParallelSize, sizes.pipelineParallelSize, sizes.tensorParallelSize];
  if (all.some((size) => !Number.isInteger(size) || size < 1)) {
    throw new RangeError(
      `Cannot form a mesh as its sizes are not integers from 1: ${describe(sizes)}`,
    );
  }
  const product = all[0] * all[1] * all[2];
  if (product !== worldSize) {
    throw new RangeError(
      `Cannot form a mesh of ${worldSize} ranks as its sizes multiply to ${product}: ${
        describe(sizes)
      }`,
    );
  }
}

function describe(sizes: MeshSizes): string {
  const { dataParallelSize, pipelineParallelSize, tensorParallelSize } = sizes;
  return `data ${dataParallelSize} x pipeline ${pipelineParallelSize} x tensor ${tensorParallelSize}`;
}
