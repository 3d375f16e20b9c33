/**
 * How a dimension is divided over tensor-parallel ranks.
 * @module
 */

/** Number of fixed blocks in which sums over a sharded dimension are taken (NUMERICS.md 1 and 6). */
export const REDUCTION_BLOCKS = 8;

/** A contiguous part of a dimension. */
export interface Shard {
  /** First index. */
  readonly start: number;
  /** Number of indices; can be 0. */
  readonly count: number;
  /**
   * Indices per fixed block: the whole dimension has at most {@linkcode REDUCTION_BLOCKS} blocks of
   * this size, and a shard begins where a block begins. It makes sums the same bits on any rank count
   * that divides {@linkcode REDUCTION_BLOCKS}.
   */
  readonly blockSize: number;
}

/**
 * The part of `size` indices that belongs to `rank` of `parts`.
 *
 * Where `parts` divides 8, shards are whole fixed blocks of `ceil(size / 8)`, the last one possibly
 * short. Other numbers of parts get even shares, each with blocks of its own.
 *
 * @example
 * ```ts
 * import { partition } from "@weft/weft";
 * console.log(partition(100, { rank: 1, parts: 2 })); // { start: 52, count: 48, blockSize: 13 }
 * ```
 */
export function partition(size: number, options: { rank: number; parts: number }): Shard {
  const { rank, parts } = options;
  if (REDUCTION_BLOCKS % parts === 0) {
    const blockSize = Math.ceil(size / REDUCTION_BLOCKS);
    const width = blockSize * (REDUCTION_BLOCKS / parts);
    const start = Math.min(size, rank * width);
    return { start, count: Math.min(width, size - start), blockSize };
  }
  const start = Math.floor((size * rank) / parts);
  const count = Math.floor((size * (rank + 1)) / parts) - start;
  return { start, count, blockSize: Math.ceil(count / REDUCTION_BLOCKS) };
}

/**
 * Input features of a row-parallel layer that follows attention: those of the rank's query heads, in
 * the fixed blocks of {@linkcode partition} where heads and blocks end together.
 */
export function headFeatures(
  heads: HeadShard,
  options: { numHeads: number; headDim: number },
): Shard {
  const features = options.numHeads * options.headDim;
  const start = heads.firstHead * options.headDim;
  const count = heads.numHeads * options.headDim;
  const blockSize = Math.ceil(features / REDUCTION_BLOCKS);
  const aligned = start % blockSize === 0 &&
    (count % blockSize === 0 || start + count === features);
  return { start, count, blockSize: aligned ? blockSize : Math.ceil(count / REDUCTION_BLOCKS) };
}

/** Query and key/value heads that one rank holds. */
export interface HeadShard {
  /** First query head. */
  readonly firstHead: number;
  /** Query heads. */
  readonly numHeads: number;
  /** First key/value head. */
  readonly firstKvHead: number;
  /** Key/value heads: every one that the rank's queries touch. */
  readonly numKvHeads: number;
}

/**
 * Divides attention heads. Query heads must divide evenly; a key/value head that queries of several
 * ranks share is held by each of them.
 *
 * @throws {RangeError} when the query heads do not divide; the message lists the sizes that work.
 */
export function partitionHeads(
  heads: { numHeads: number; numKvHeads: number },
  options: { rank: number; parts: number },
): HeadShard {
  const { numHeads, numKvHeads } = heads;
  const { rank, parts } = options;
  if (numHeads % parts !== 0) {
    const sizes = Array.from({ length: numHeads }, (_, i) => i + 1).filter((n) =>
      numHeads % n === 0
    );
    throw new RangeError(
      `Cannot shard attention as numHeads must be divisible by tensor parallel size ${parts}: ` +
        `current value is ${numHeads}; sizes that work: ${sizes.join(", ")}`,
    );
  }
  const group = numHeads / numKvHeads;
  const perRank = numHeads / parts;
  const firstHead = rank * perRank;
  const firstKvHead = Math.floor(firstHead / group);
  const lastKvHead = Math.floor((firstHead + perRank - 1) / group);
  return { firstHead, numHeads: perRank, firstKvHead, numKvHeads: lastKvHead - firstKvHead + 1 };
}
