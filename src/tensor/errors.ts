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

/** A device did not finish its work in time. */
export class DeviceTimeoutError extends Error {
  /** The deadline, in milliseconds. */
  readonly timeoutMs: number;

  /** Says what was waited for, and how long. */
  constructor(what: string, timeoutMs: number) {
    super(`Cannot wait longer for ${what}: the deadline of ${timeoutMs} ms has passed`);
    this.name = "DeviceTimeoutError";
    this.timeoutMs = timeoutMs;
  }
}
