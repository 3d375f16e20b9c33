/**
 * Errors of the tensor layer that callers catch.
 * @module
 */

/** A device has too little memory for what was asked. */
export class CapacityError extends Error {
  /** Bytes that were asked for. */
  readonly byteLength: number;

  /** Says what could not be allocated and how many bytes it takes. */
  constructor(message: string, byteLength: number) {
    super(message);
    this.name = "CapacityError";
    this.byteLength = byteLength;
  }
}
