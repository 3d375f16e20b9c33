/**
 * A number in shared memory on which others wait.
 * @module
 */
import { type CommunicationLibrary, STATUS } from "./communication.ts";
import { KeptBigInt } from "./kept_bigint.ts";
import type { AbortFlag } from "./shared_memory.ts";

/** What ends a wait early, and how it is spent. */
export interface SharedEventOptions {
  /** Flag that ends the waits. */
  readonly abortFlag: AbortFlag;
  /** How long a wait spins before it sleeps, in microseconds; 0 when left out. */
  readonly spinMicroseconds?: number;
}

/** An unsigned 32-bit number that only grows (modulo 2^32), in a cache line of its own. */
export class SharedEvent {
  readonly #library: CommunicationLibrary;
  readonly #address: bigint;
  readonly #abortAddress: bigint;
  readonly #spin: bigint;
  readonly #timeout = new KeptBigInt();

  /** The event at `address` in a region that outlives it. */
  constructor(library: CommunicationLibrary, address: bigint, options: SharedEventOptions) {
    this.#library = library;
    this.#address = address;
    this.#abortAddress = options.abortFlag.address;
    this.#spin = BigInt(Math.round((options.spinMicroseconds ?? 0) * 1e3));
  }

  /** The number; what was written before it was posted can be read. */
  get value(): number {
    return this.#library.symbols.weft_event_value(this.#address);
  }

  /** Sets the number, makes everything written before visible, and wakes who waits. */
  post(value: number): void {
    this.#library.symbols.weft_event_post(this.#address, value);
  }

  /** Blocks until the number has reached `target`. */
  wait(target: number, timeoutMs: number): "reached" | "timed-out" | "aborted" {
    const timeout = this.#timeout.of(Math.round(timeoutMs * 1e6));
    const status = this.#library.symbols
      .weft_event_wait(this.#address, target, timeout, this.#abortAddress, this.#spin);
    if (status === 0) return "reached";
    return status === STATUS.timedOut ? "timed-out" : "aborted";
  }
}
