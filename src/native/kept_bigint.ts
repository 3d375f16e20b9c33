/**
 * BigInts for calls that repeat.
 * @module
 */

/** Makes a BigInt of a number; the last one again where the number is the same, which leaves no garbage. */
export class KeptBigInt {
  #number = 0;
  #bigint = 0n;

  /** `BigInt(value)`; throws RangeError when it is not an integer. */
  of(value: number): bigint {
    if (value !== this.#number) {
      this.#bigint = BigInt(value);
      this.#number = value;
    }
    return this.#bigint;
  }
}
