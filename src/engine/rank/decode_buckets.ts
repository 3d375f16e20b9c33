/**
 * Sizes of decode steps that are recorded: each step is padded to the next one.
 * @module
 */

/** From here on sizes are a warp of rows apart, from there on two: padding costs at most an eighth. */
const COARSE_FROM = 32;
const COARSER_FROM = 256;

/**
 * Batch sizes up to `maxNumSeqs`, ascending: powers of two, multiples of 8 from there, of 32 from 32 and
 * of 64 from 256. The last is `maxNumSeqs` itself.
 */
export function decodeBuckets(maxNumSeqs: number): number[] {
  const buckets: number[] = [];
  for (let size = 1; size < maxNumSeqs; size += stepAfter(size)) buckets.push(size);
  buckets.push(maxNumSeqs);
  return buckets;
}

/** The smallest of `buckets`, which ascend, that holds `count` sequences. */
export function bucketOf(count: number, buckets: readonly number[]): number {
  for (let i = 0; i < buckets.length; i++) if (buckets[i] >= count) return buckets[i];
  throw new RangeError(
    `Cannot find a bucket for ${count} sequences as the largest is ${buckets[buckets.length - 1]}`,
  );
}

function stepAfter(size: number): number {
  if (size < 8) return size;
  if (size < COARSE_FROM) return 8;
  return size < COARSER_FROM ? 32 : 64;
}
