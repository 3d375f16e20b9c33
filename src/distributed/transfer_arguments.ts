/**
 * Checks of what callers ask of a communicator, the same for every implementation.
 * @module
 */
import type { DType } from "../tensor/dtype.ts";
import type { ReduceOp } from "./communicator.ts";

const MAX_COUNT = 0xffffffff;

/** Throws RangeError unless `count` is a number of elements that one operation can move. */
export function checkCount(operation: string, count: number): void {
  if (!Number.isInteger(count) || count < 0 || count > MAX_COUNT) {
    throw new RangeError(
      `Cannot ${operation} as the count is not an integer from 0 to ${MAX_COUNT}: ${count}`,
    );
  }
}

/**
 * Throws TypeError for a type that is copied but not reduced. Partial sums are f32 (NUMERICS.md 2), so
 * 16-bit floats have no sum of their own.
 */
export function checkReduction(operation: string, dtype: DType, op: ReduceOp): void {
  if (dtype === "f16" || dtype === "bf16") {
    throw new TypeError(
      `Cannot ${operation} the ${op} of 16-bit floats as their partial results are kept in f32: dtype is ${dtype}`,
    );
  }
}

/** Throws RangeError unless `rank` is in the group. */
export function checkRank(operation: string, rank: number, size: number): void {
  if (!Number.isInteger(rank) || rank < 0 || rank >= size) {
    throw new RangeError(
      `Cannot ${operation} as the group has no such rank: ${rank} is not in 0..${size - 1}`,
    );
  }
}

/** Throws RangeError unless `peer` is another rank of the group. */
export function checkPeer(
  operation: string,
  peer: number,
  group: { readonly rank: number; readonly size: number },
): void {
  checkRank(operation, peer, group.size);
  if (peer === group.rank) {
    throw new RangeError(`Cannot ${operation} as the peer is the rank itself: ${peer}`);
  }
}

/** Throws RangeError unless `color` and `key` are 32-bit integers, and the color not negative. */
export function checkSplit(color: number, key: number): void {
  if ((color | 0) !== color || (key | 0) !== key || color < 0) {
    throw new RangeError(
      `Cannot split a group as color and key are not 32-bit integers from 0 (color): ${color}, ${key}`,
    );
  }
}
