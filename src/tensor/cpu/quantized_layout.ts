/**
 * How the inputs of a quantised weight are ordered and cut (native/cpu/quantized.h).
 * @module
 */

/** Most inputs of a segment: WEFT_SEGMENT_INPUTS. */
const SEGMENT_INPUTS = 256;

/** Most inputs of a matrix tile, and what they are a multiple of: a whole unit of a panel. */
const TILE_INPUTS = 64;
const TILE_STEP = 8;

/** Inputs of an int4 weight that share a scale where it is made here. */
const INT4_GROUP = 32;

/** Width of a quantised weight. */
export type QuantizedBits = 4 | 8;

/** A run of inputs that lie in one block of the sum and share a scale. */
export interface QuantizedSegment {
  /** Position of its first input. */
  readonly first: number;
  /** Number of inputs. */
  readonly length: number;
  /** Where it begins in a prepared token. */
  readonly place: number;
  /** Whether a block of the sum ends with it. */
  readonly endsBlock: boolean;
  /** Its group: that of the checkpoint, or 0. */
  readonly group: number;
}

/** Order and cuts of a weight's inputs. */
export interface QuantizedLayout {
  /** Width of a weight. */
  readonly bits: QuantizedBits;
  /** The input at each position; null: as they come. */
  readonly order: Int32Array<ArrayBuffer> | null;
  /** The segments, in order. */
  readonly segments: readonly QuantizedSegment[];
  /** Blocks of the sum. */
  readonly blocks: number;
  /** Units of 64 bytes in a panel. */
  readonly units: number;
  /** Inputs of a matrix tile. */
  readonly tileInputs: number;
  /** Inputs of a prepared token, with those between segments. */
  readonly places: number;
}

/**
 * The layout of `columns` inputs in blocks of `blockSize` (0: one). `groups` has the checkpoint's group of
 * each input, null where scales are made here. In a block, inputs are sorted by group: what shares a scale
 * lies together, and a block's sum does not depend on the others.
 */
export function quantizedLayout(
  { bits, columns, blockSize, groups }: {
    readonly bits: QuantizedBits;
    readonly columns: number;
    readonly blockSize: number;
    readonly groups: ArrayLike<number> | null;
  },
): QuantizedLayout {
  const order = groups === null ? null : sortByGroup(groups, columns, blockSize);
  const longest = groups === null && bits === 4 ? INT4_GROUP : SEGMENT_INPUTS;
  const groupAt = (position: number) => groups?.[order?.[position] ?? position] ?? 0;
  const runs: { first: number; length: number; endsBlock: boolean }[] = [];
  let blocks = 0;
  for (const [begin, end] of ranges(columns, blockSize)) {
    blocks++;
    for (let first = begin; first < end;) {
      let last = first + 1;
      while (last < end && groupAt(last) === groupAt(first)) last++;
      const size = pieceSize(last - first, longest);
      for (; first < last; first += size) {
        const length = Math.min(size, last - first);
        runs.push({ first, length, endsBlock: first + length === end });
      }
      first = last;
    }
  }
  const tileInputs = tileSize(Math.max(1, ...runs.map(({ length }) => length)));
  let place = 0;
  const segments = runs.map((run) => {
    const segment = { ...run, place, group: groupAt(run.first) };
    place += Math.ceil(run.length / tileInputs) * tileInputs;
    return segment;
  });
  const unitInputs = 32 / bits;
  const units = runs.reduce((sum, { length }) => sum + Math.ceil(length / unitInputs), 0);
  return { bits, order, segments, blocks, units, tileInputs, places: place };
}

/** Whether weights of both layouts can lie in one section. */
export function sameLayout(a: QuantizedLayout, b: QuantizedLayout): boolean {
  return a.bits === b.bits && a.segments.length === b.segments.length &&
    a.segments.every(({ first, length }, i) =>
      first === b.segments[i].first && length === b.segments[i].length
    ) &&
    (a.order === b.order ||
      a.order !== null && b.order !== null && a.order.every((input, i) => input === b.order![i]));
}

function* ranges(columns: number, blockSize: number): Generator<[number, number]> {
  const size = blockSize === 0 ? columns : blockSize;
  for (let begin = 0; begin < columns; begin += size) {
    yield [begin, Math.min(begin + size, columns)];
  }
}

/** Null where inputs are sorted as they come. */
function sortByGroup(
  groups: ArrayLike<number>,
  columns: number,
  blockSize: number,
): Int32Array<ArrayBuffer> | null {
  const order = Int32Array.from({ length: columns }, (_, i) => i);
  for (const [begin, end] of ranges(columns, blockSize)) {
    // Numbers are sorted by themselves where groups are equal: stably.
    order.subarray(begin, end).sort((a, b) => groups[a] - groups[b] || a - b);
  }
  return order.every((input, i) => input === i) ? null : order;
}

/** Pieces of nearly one size, which fill matrix tiles. */
function pieceSize(length: number, longest: number): number {
  if (longest <= TILE_INPUTS) return longest;
  const share = Math.ceil(length / Math.ceil(length / longest));
  return Math.min(longest, Math.ceil(share / TILE_INPUTS) * TILE_INPUTS);
}

function tileSize(longest: number): number {
  const share = Math.ceil(longest / Math.ceil(longest / TILE_INPUTS));
  return Math.ceil(share / TILE_STEP) * TILE_STEP;
}
