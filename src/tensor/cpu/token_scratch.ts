/**
 * Memory in which a product prepares the activations of its tokens.
 * @module
 */
import type { CpuMemory } from "./memory.ts";

/** Tokens whose activations fit; a product of more takes several rounds. */
const ROUND_TOKENS = 512;

/**
 * One block of memory that all products of a device share: one runs at a time. It grows when weights are
 * made, never in a step.
 */
export class TokenScratch {
  readonly #memory: CpuMemory;
  #address = 0n;
  #byteLength = 0n;

  /** Empty; `memory` frees it. */
  constructor(memory: CpuMemory) {
    this.#memory = memory;
  }

  /** Address of the first byte, 64-byte aligned. */
  get address(): bigint {
    return this.#address;
  }

  /** Bytes that there are. */
  get byteLength(): bigint {
    return this.#byteLength;
  }

  /** Makes room for tokens of `tokenBytes` bytes each. */
  reserve(tokenBytes: number): void {
    const needed = tokenBytes * ROUND_TOKENS;
    if (needed <= this.#byteLength) return;
    const address = this.#memory.allocate(needed);
    if (this.#byteLength > 0n) this.#memory.free(this.#address);
    this.#address = address;
    this.#byteLength = BigInt(needed);
  }
}
