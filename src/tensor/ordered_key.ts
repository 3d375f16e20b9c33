/**
 * Ordered keys: unsigned integers that sort as the floats they stand for, so that a threshold can
 * be found bit by bit (radix selection) with integer counts that add exactly in any order.
 * @module
 */

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/**
 * Key of an `f32`: its bits with the sign flipped, or all bits flipped when negative. `a < b` for
 * numbers means `orderedKey(a) < orderedKey(b)`; -0 comes just below +0. NaN has no place.
 */
export function orderedKey(value: number): number {
  float[0] = value;
  const pattern = bits[0];
  return (pattern & 0x80000000 ? ~pattern : pattern ^ 0x80000000) >>> 0;
}

/** The `f32` whose {@linkcode orderedKey} is `key`; the inverse of that function. */
export function fromOrderedKey(key: number): number {
  bits[0] = key & 0x80000000 ? key ^ 0x80000000 : ~key;
  return float[0];
}
