/**
 * The GEMM layout of AWQ: eight 4-bit integers of consecutive outputs in a word.
 * @module
 */
import type { RoundedGroups } from "./round_weights.ts";

/** Place in its word of each of eight outputs: words hold 0, 2, 4, 6, 1, 3, 5, 7 from the lowest bits on. */
const PLACES = [0, 4, 1, 5, 2, 6, 3, 7];

/** What `qweight` `[columns, rows / 8]`, `scales` and `qzeros` `[groups, rows / 8]` hold. */
export interface PackedAwq {
  /** Weights. */
  readonly values: Int32Array<ArrayBuffer>;
  /** Scales. */
  readonly scales: Float16Array<ArrayBuffer>;
  /** Zeros. */
  readonly zeros: Int32Array<ArrayBuffer>;
}

/** Packs a rounded weight of `rows`, a multiple of 8. */
export function packAwq(rounded: RoundedGroups, rows: number): PackedAwq {
  const { values, scales, zeros } = rounded;
  const columns = values.length / rows;
  const words = rows / 8;
  const packed = new Int32Array(columns * words);
  for (let row = 0; row < rows; row++) {
    const shift = 4 * PLACES[row % 8];
    const word = Math.floor(row / 8);
    for (let column = 0; column < columns; column++) {
      packed[column * words + word] |= values[row * columns + column] << shift;
    }
  }
  const packedZeros = new Int32Array(zeros.length / 8);
  zeros.forEach((zero, i) => {
    packedZeros[Math.floor(i / 8)] |= zero << (4 * PLACES[i % 8]);
  });
  return { values: packed, scales, zeros: packedZeros };
}
