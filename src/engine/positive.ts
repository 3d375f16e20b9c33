/**
 * The check that most options of an engine need.
 * @module
 */

/** `value`; throws RangeError naming the option unless it is a positive 32-bit integer. */
export function positive(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1 || value > 0x7fffffff) {
    throw new RangeError(`Cannot use ${name} as it must be a positive 32-bit integer: ${value}`);
  }
  return value;
}
