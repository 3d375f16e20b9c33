/**
 * The order in which a quantised weight has its inputs: segments of one size, none of which has inputs of
 * two groups (`native/cuda/quantized.cuh`).
 * @module
 */

/** Sizes that a segment can have; the kernels' chunks are of 32 inputs. */
const SEGMENT_SIZES = [128, 64, 32] as const;

/** Rows of a weight are padded to a multiple of it. */
const INPUT_MULTIPLE = 128;

/** Bytes of a segment's scale and zero. */
const SEGMENT_BYTES = 4;

/** Where each input of a weight stands. */
export interface InputLayout {
  /** Inputs of a segment. */
  readonly segmentSize: number;
  /** Positions, a multiple of 128 and of the segment's size. */
  readonly inputs: number;
  /** Which input stands at each position, -1: none. Null: input k stands at position k. */
  readonly order: Int32Array<ArrayBuffer> | null;
  /** The group whose scale and zero each segment has. */
  readonly groupOfSegment: Int32Array<ArrayBuffer>;
}

/**
 * Lays out inputs of which `groupOfInput` gives the groups. They stay in order where groups begin at
 * multiples of a segment. Else they are sorted by group, and each group is padded to whole segments, of
 * the size that takes the fewest bytes with elements of `bits`.
 */
export function inputLayout(
  groupOfInput: Int32Array<ArrayBuffer>,
  { bits }: { readonly bits: number },
): InputLayout {
  const begins = (size: number) =>
    groupOfInput.every((group, k) => k % size === 0 || group === groupOfInput[k - 1]);
  const size = SEGMENT_SIZES.find(begins);
  if (size !== undefined) {
    const inputs = padded(groupOfInput.length, INPUT_MULTIPLE);
    const groups = Int32Array.from(
      { length: inputs / size },
      (_, segment) => groupOfInput[Math.min(segment * size, groupOfInput.length - 1)],
    );
    return { segmentSize: size, inputs, order: null, groupOfSegment: groups };
  }
  return sortedLayout(groupOfInput, bits);
}

function sortedLayout(groupOfInput: Int32Array<ArrayBuffer>, bits: number): InputLayout {
  const members = new Map<number, number[]>();
  groupOfInput.forEach((group, input) => {
    const known = members.get(group);
    if (known) known.push(input);
    else members.set(group, [input]);
  });
  const groups = [...members].sort(([a], [b]) => a - b);
  const inputsWith = (size: number) =>
    padded(groups.reduce((sum, [, { length }]) => sum + padded(length, size), 0), INPUT_MULTIPLE);
  const bytesWith = (size: number) => inputsWith(size) * (bits / 8 + SEGMENT_BYTES / size);
  const segmentSize = SEGMENT_SIZES.reduce((best, size) =>
    bytesWith(size) < bytesWith(best) ? size : best
  );
  const inputs = inputsWith(segmentSize);
  const order = new Int32Array(inputs).fill(-1);
  const groupOfSegment = new Int32Array(inputs / segmentSize).fill(groups[0][0]);
  let position = 0;
  for (const [group, ownInputs] of groups) {
    order.set(ownInputs, position);
    const end = position + padded(ownInputs.length, segmentSize);
    groupOfSegment.fill(group, position / segmentSize, end / segmentSize);
    position = end;
  }
  return { segmentSize, inputs, order, groupOfSegment };
}

/** Whether inputs stand at the same positions, in segments of the same size. */
export function haveSameOrder(a: InputLayout, b: InputLayout): boolean {
  if (a.segmentSize !== b.segmentSize || a.inputs !== b.inputs) return false;
  if (a.order === null || b.order === null) return a.order === b.order;
  const { order } = b;
  return a.order.every((input, position) => input === order[position]);
}

function padded(count: number, multiple: number): number {
  return Math.ceil(count / multiple) * multiple;
}
