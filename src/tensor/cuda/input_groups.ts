/**
 * Which inputs of a weight share a scale and a zero.
 * @module
 */
import type { QuantizedMatrix } from "../linear_kernels.ts";

/**
 * Groups of `size` inputs each, begun afresh in every block of the sum, so that ranks that share the blocks
 * of a weight round it alike. `blockSize` 0: a single block.
 */
export function groupsOfBlocks(
  columns: number,
  { size, blockSize }: { readonly size: number; readonly blockSize: number },
): Int32Array<ArrayBuffer> {
  const block = blockSize || columns;
  const blockGroups = Math.ceil(block / size);
  return Int32Array.from({ length: columns }, (_, k) => {
    return Math.floor(k / block) * blockGroups + Math.floor(k % block / size);
  });
}

/** Groups of a stored weight. */
export function storedGroupCount({ storedColumns, groupSize }: QuantizedMatrix): number {
  return Math.ceil(storedColumns / groupSize);
}

/** The groups of a slice's inputs. Throws RangeError for a group that the weight does not have. */
export function storedGroups(part: QuantizedMatrix): Int32Array<ArrayBuffer> {
  const { firstColumn, columns, groupSize, groupOfInput } = part;
  if (groupOfInput === null) {
    return Int32Array.from(
      { length: columns },
      (_, k) => Math.floor((firstColumn + k) / groupSize),
    );
  }
  const pointer = Deno.UnsafePointer.create(groupOfInput + BigInt(4 * firstColumn));
  if (pointer === null) throw new RangeError("Cannot read groups of inputs as the address is null");
  const bytes = new Uint8Array(4 * columns);
  Deno.UnsafePointerView.copyInto(pointer, bytes);
  const groups = new Int32Array(bytes.buffer);
  const count = storedGroupCount(part);
  const wrong = groups.find((group) => group < 0 || group >= count);
  if (wrong !== undefined) {
    throw new RangeError(
      `Cannot make a weight as an input's group must be below ${count}: it is ${wrong}`,
    );
  }
  return groups;
}
