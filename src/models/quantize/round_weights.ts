/**
 * Weights rounded to integers.
 * @module
 */
import type { WeightDType } from "../../tensor/dtype.ts";
import { roundFloats } from "./stored_floats.ts";

/** A weight `[rows, columns]` in f32. */
export interface DenseWeight {
  /** Row-major elements. */
  readonly values: Float32Array<ArrayBuffer>;
  /** Output features. */
  readonly rows: number;
  /** Input features. */
  readonly columns: number;
}

/** Signed integers with one scale a row. */
export interface RoundedRows {
  /** `[rows, columns]`. */
  readonly values: Int8Array<ArrayBuffer>;
  /** `[rows]`. */
  readonly scales: Float32Array<ArrayBuffer>;
}

/** Unsigned 4-bit integers with a scale and a zero for each row of each group of columns. */
export interface RoundedGroups {
  /** `[rows, columns]`. */
  readonly values: Uint8Array<ArrayBuffer>;
  /** `[groups, rows]`. */
  readonly scales: Float16Array<ArrayBuffer>;
  /** `[groups, rows]`. */
  readonly zeros: Uint8Array<ArrayBuffer>;
}

/** Least scale: the smallest number of the type that holds scales of groups. */
const LEAST_SCALE = 2 ** -24;

/** Largest 4-bit integer. */
const MOST = 15;

/** How much of the range of a group's weights its integers may span: the rest is clipped. */
const SPANS = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65];

/** Rounds each row to integers from -127 to 127; scales are numbers of the type `scaleDtype`. */
export function roundRows(weight: DenseWeight, scaleDtype: WeightDType): RoundedRows {
  const { values, rows, columns } = weight;
  const exact = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    let most = LEAST_SCALE;
    for (let i = row * columns; i < (row + 1) * columns; i++) {
      most = Math.max(most, Math.abs(values[i]));
    }
    exact[row] = Math.max(most / 127, LEAST_SCALE);
  }
  const scales = roundFloats(exact, scaleDtype);
  const rounded = new Int8Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let i = row * columns; i < (row + 1) * columns; i++) {
      rounded[i] = Math.max(-127, Math.min(127, Math.round(values[i] / scales[row])));
    }
  }
  return { values: rounded, scales };
}

/**
 * Rounds to 4 bits in groups of `groupSize` columns, which must divide them. With `importance`
 * `[columns]`, the mean square of each input, a group's range is cut where that makes the expected
 * square error of the product smaller, as if inputs were independent.
 *
 * Source: the search for clipping of Lin et al., "AWQ" (arXiv 2306.00978), on a diagonal.
 */
export function roundGroups(
  weight: DenseWeight,
  options: { readonly groupSize: number; readonly importance?: Float32Array },
): RoundedGroups {
  const { values, rows, columns } = weight;
  const { groupSize, importance } = options;
  const groups = columns / groupSize;
  const out: RoundedGroups = {
    values: new Uint8Array(values.length),
    scales: new Float16Array(groups * rows),
    zeros: new Uint8Array(groups * rows),
  };
  for (let row = 0; row < rows; row++) {
    for (let group = 0; group < groups; group++) {
      const first = row * columns + group * groupSize;
      const { scale, zero } = groupScale(values, { first, groupSize, columns, importance });
      out.scales[group * rows + row] = scale;
      out.zeros[group * rows + row] = zero;
      for (let i = first; i < first + groupSize; i++) {
        out.values[i] = nearest(values[i], 1 / scale, zero);
      }
    }
  }
  return out;
}

/** Scale and zero of the group that begins at `first`. */
function groupScale(
  values: Float32Array,
  group: {
    readonly first: number;
    readonly groupSize: number;
    readonly columns: number;
    readonly importance?: Float32Array;
  },
): { scale: number; zero: number } {
  const { first, groupSize, columns, importance } = group;
  let [least, most] = [0, 0];
  for (let i = first; i < first + groupSize; i++) {
    const value = values[i];
    if (value < least) least = value;
    else if (value > most) most = value;
  }
  let best = { scale: 0, zero: 0, error: Infinity };
  for (const span of importance ? SPANS : [1]) {
    const scale = Math.f16round(Math.max((most - least) * span / MOST, LEAST_SCALE));
    const zero = Math.max(0, Math.min(MOST, Math.round(-least * span / scale)));
    const inverse = 1 / scale;
    let error = 0;
    if (importance) {
      for (let i = first, column = first % columns; i < first + groupSize; i++, column++) {
        const difference = values[i] - (nearest(values[i], inverse, zero) - zero) * scale;
        error += importance[column] * difference * difference;
      }
    }
    if (error < best.error) best = { scale, zero, error };
  }
  return best;
}

function nearest(value: number, inverseScale: number, zero: number): number {
  const integer = Math.floor(value * inverseScale + 0.5) + zero;
  return integer < 0 ? 0 : integer > MOST ? MOST : integer;
}
