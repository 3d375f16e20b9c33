/**
 * The error of a C library's function.
 * @module
 */

/** What {@linkcode NativeError} is made of. */
export interface NativeFailure {
  /** Library, such as `cudart`. */
  readonly library: string;
  /** C function that failed. */
  readonly function: string;
  /** Status that it returned. */
  readonly status: number;
  /** What the status means, and what helps against it. */
  readonly explanation: string;
}

/** A C function returned a status that is a failure. */
export class NativeError extends Error {
  /** Library, such as `cudart`. */
  readonly library: string;
  /** C function that failed. */
  readonly function: string;
  /** Status that it returned. */
  readonly status: number;

  /** The error of one call. */
  constructor(failure: NativeFailure) {
    super(
      `${failure.function} of ${failure.library} failed with status ${failure.status}: ${failure.explanation}`,
    );
    this.name = "NativeError";
    this.library = failure.library;
    this.function = failure.function;
    this.status = failure.status;
  }
}
