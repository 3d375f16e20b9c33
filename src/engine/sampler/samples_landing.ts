/**
 * Where samples of one step at a time arrive on the host.
 * @module
 */
import type { Readback } from "../../tensor/device.ts";
import type { SampleRow, SamplingWork } from "./sample_row.ts";
import type { RowLogprobs } from "../step_plan.ts";

/** What was drawn for the rows of a step. */
export interface Samples {
  /** The drawn token of each row. */
  readonly tokens: Int32Array;
  /** Log-probabilities that were asked for, null for the other rows; all null on ranks other than 0. */
  readonly logprobs: readonly (RowLogprobs | null)[];
}

/** Samples that are on their way from the device. */
export interface PendingSamples {
  /** Whether they have arrived. Throws when the work before them has failed. */
  isReady(): boolean;
  /** Waits for them, under the device's deadline. They stay until further ones are read back. */
  read(): Samples;
}

/** What is read back. */
export interface SampledStep {
  /** The rows. */
  readonly rows: readonly SampleRow[];
  /** What they asked for. */
  readonly work: SamplingWork;
  /** The gathered logits of all ranks, if the work asks for them. */
  readonly whole: Float32Array | null;
}

/** Makes log-probabilities of what has arrived; null when there are none. */
export type LogprobsReader = (bytes: Uint8Array<ArrayBuffer>, step: SampledStep) =>
  | readonly (RowLogprobs | null)[]
  | null;

/** A landing place: what is in the fields is read back after {@linkcode start}, until it has been read. */
export class SamplesLanding implements PendingSamples, SampledStep, Disposable {
  /** See {@linkcode SampledStep}. */
  rows: readonly SampleRow[];
  /** See {@linkcode SampledStep}. */
  work: SamplingWork;
  /** See {@linkcode SampledStep}. */
  whole: Float32Array | null = null;
  readonly #readback: Readback;
  readonly #readLogprobs: LogprobsReader;
  readonly #onRead: (landing: SamplesLanding) => void;
  readonly #samples: { tokens: Int32Array; logprobs: Samples["logprobs"] };
  #none: readonly null[] = [];
  #bytes: Uint8Array | null = null;
  #isPending = false;

  /** Lands what `readback` brings, first of `rows`; `onRead` learns when the place is free again. */
  constructor(
    readback: Readback,
    options: {
      readonly rows: readonly SampleRow[];
      readonly work: SamplingWork;
      readonly readLogprobs: LogprobsReader;
      readonly onRead: (landing: SamplesLanding) => void;
    },
  ) {
    this.rows = options.rows;
    this.work = options.work;
    this.#readback = readback;
    this.#readLogprobs = options.readLogprobs;
    this.#onRead = options.onRead;
    this.#samples = { tokens: new Int32Array(0), logprobs: this.#none };
  }

  /** Queues the copy of `byteLength` bytes, tokens first. */
  start(source: bigint, byteLength: number): void {
    this.#readback.start(source, byteLength);
    this.#isPending = true;
  }

  /** See {@linkcode PendingSamples.isReady}. */
  isReady(): boolean {
    return !this.#isPending || this.#readback.isReady();
  }

  /** See {@linkcode PendingSamples.read}. */
  read(): Samples {
    if (!this.#isPending) return this.#samples;
    const bytes = this.#readback.read();
    const { length } = this.rows;
    // Steps of one size arrive in the same bytes.
    if (this.#bytes !== bytes || this.#samples.tokens.length !== length) {
      this.#samples.tokens = new Int32Array(bytes.buffer, bytes.byteOffset, length);
      this.#bytes = bytes;
    }
    if (this.#none.length !== length) this.#none = new Array<null>(length).fill(null);
    this.#samples.logprobs = this.#readLogprobs(bytes, this) ?? this.#none;
    this.#isPending = false;
    this.#onRead(this);
    return this.#samples;
  }

  /** Frees the memory. */
  [Symbol.dispose](): void {
    this.#readback[Symbol.dispose]();
  }
}
