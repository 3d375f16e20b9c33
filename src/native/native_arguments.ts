/**
 * Checks of numbers before a C function receives them.
 * @module
 */

/** Throws RangeError unless `value` is an integer from 0 that fits a C int. */
export function checkNatural(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > 0x7fffffff) {
    throw new RangeError(
      `Cannot call a library as ${name} must be an integer from 0 to 2147483647: current value is ${value}`,
    );
  }
}

/** Throws RangeError unless `value` is a number of bytes or elements that JavaScript can count. */
export function checkSize(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(
      `Cannot call a library as ${name} must be a safe integer from 0: current value is ${value}`,
    );
  }
}
