/**
 * Blocks in an order of use.
 * @module
 */

/** A queue of block numbers that any of them can leave. Its memory is taken once: changes make no garbage. */
export class BlockList {
  /** By block, and at the end that of the list itself: the one after it. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #head: number;
  #size = 0;

  /** An empty list of blocks from 0 to `numBlocks - 1`. */
  constructor(numBlocks: number) {
    this.#head = numBlocks;
    this.#next = new Int32Array(numBlocks + 1).fill(-1);
    this.#previous = new Int32Array(numBlocks + 1).fill(-1);
    this.#next[numBlocks] = this.#previous[numBlocks] = numBlocks;
  }

  /** Blocks in the list. */
  get size(): number {
    return this.#size;
  }

  /** Whether the list holds `block`. */
  has(block: number): boolean {
    return this.#next[block] >= 0;
  }

  /** Adds a block, which it must not hold, at the end. */
  push(block: number): void {
    const last = this.#previous[this.#head];
    this.#next[last] = block;
    this.#previous[block] = last;
    this.#next[block] = this.#head;
    this.#previous[this.#head] = block;
    this.#size++;
  }

  /** Takes out a block that it holds. */
  remove(block: number): void {
    const [next, previous] = [this.#next[block], this.#previous[block]];
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#next[block] = this.#previous[block] = -1;
    this.#size--;
  }

  /** Takes out the first block; -1 when there is none. */
  shift(): number {
    if (this.#size === 0) return -1;
    const block = this.#next[this.#head];
    this.remove(block);
    return block;
  }

  /** The blocks from the first to the last. */
  *[Symbol.iterator](): Generator<number, void> {
    for (let block = this.#next[this.#head]; block !== this.#head; block = this.#next[block]) {
      yield block;
    }
  }
}
