import type { WeightDType } from "../../src/tensor/dtype.ts";

/** Half the distance of neighbouring numbers, relative to them. */
export const ROUNDING: Readonly<Record<WeightDType, number>> = {
  f32: 2 ** -24,
  f16: 2 ** -11,
  bf16: 2 ** -8,
};

/** Throws unless every element is the expected one after f32 arithmetic and rounding to `dtype`. */
export function assertRounded(
  actual: Float32Array,
  expected: ArrayLike<number>,
  options: { readonly dtype: WeightDType; readonly tolerance: number; readonly what: string },
): void {
  const { dtype, tolerance, what } = options;
  if (actual.length !== expected.length) {
    throw new Error(`${what}: ${actual.length} elements instead of ${expected.length}`);
  }
  for (let i = 0; i < actual.length; i++) {
    const allowed = tolerance + Math.abs(expected[i]) * ROUNDING[dtype];
    // Written so that NaN fails.
    if (!(Math.abs(actual[i] - expected[i]) <= allowed)) {
      throw new Error(`${what}: element ${i} is ${actual[i]} instead of ${expected[i]}`);
    }
  }
}
