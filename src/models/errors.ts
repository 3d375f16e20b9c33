/**
 * The error of everything that reads a checkpoint.
 * @module
 */

/** Where a {@linkcode ModelLoadError} happened. */
export interface ModelLoadErrorOptions extends ErrorOptions {
  /** The file (or folder) that could not be loaded. */
  readonly file: string;
  /** The tensor at fault, when it is one. */
  readonly tensor?: string;
}

/** A model folder cannot be loaded as it is: the message, `file` and `tensor` say which part. */
export class ModelLoadError extends Error {
  /** The file (or folder) at fault. */
  readonly file: string;
  /** The tensor at fault, or null. */
  readonly tensor: string | null;

  /** Wraps the reason; the message should name the file and the tensor too. */
  constructor(message: string, options: ModelLoadErrorOptions) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.name = "ModelLoadError";
    this.file = options.file;
    this.tensor = options.tensor ?? null;
  }
}
