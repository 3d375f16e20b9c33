/**
 * Blocks of the KV cache, how many use each, and what those that are full are called.
 * @module
 */
import { BlockList } from "./block_list.ts";
import type { BlockName } from "./block_names.ts";

/**
 * Reference-counted blocks. One that has a name and no user keeps its contents, to be found by them, until no other
 * block is left: then that whose last use is the longest ago loses its name and is handed out. Those without a name
 * are a stack, so that the blocks used last (warm in cache) are used next, and the same calls give the same blocks.
 */
export class BlockPool {
  /** Blocks in the pool. */
  readonly size: number;
  readonly #users: Int32Array;
  readonly #names: (BlockName | null)[];
  readonly #byName = new Map<BlockName, number>();
  /** Without name or user. */
  readonly #blank: number[] = [];
  /** With a name and without user, in order of their last use. */
  readonly #cached: BlockList;

  /** A pool of `size` blocks without names and users. */
  constructor(size: number) {
    this.size = size;
    this.#users = new Int32Array(size);
    this.#names = new Array<BlockName | null>(size).fill(null);
    this.#cached = new BlockList(size);
    for (let block = size - 1; block >= 0; block--) this.#blank.push(block);
  }

  /** Blocks that can be handed out: nobody uses them. */
  get numFree(): number {
    return this.#blank.length + this.#cached.size;
  }

  /** Those among them that have names. */
  get numCached(): number {
    return this.#cached.size;
  }

  /** Whether nobody uses `block`. */
  isFree(block: number): boolean {
    return this.#users[block] === 0;
  }

  /** Hands out a block to its one user; throws RangeError when none is free. */
  take(): number {
    const block = this.#blank.pop() ?? this.#evict();
    this.#users[block] = 1;
    return block;
  }

  /** Adds a user to a block that was {@linkcode find}ed. */
  join(block: number): void {
    if (this.#users[block]++ === 0) this.#cached.remove(block);
  }

  /** Takes a user from a block. */
  leave(block: number): void {
    if (--this.#users[block] > 0) return;
    if (this.#names[block] === null) this.#blank.push(block);
    else this.#cached.push(block);
  }

  /** The block of a name; -1 when there is none. */
  find(name: BlockName): number {
    return this.#byName.get(name) ?? -1;
  }

  /** Names a block that is full and is not written any more; one that has a name, or whose name another has, stays. */
  name(block: number, name: BlockName): void {
    if (this.#names[block] !== null || this.#byName.has(name)) return;
    this.#names[block] = name;
    this.#byName.set(name, block);
  }

  /** Throws unless each block has as many users as it is found in `uses`, and its name and place that follow. */
  checkIntegrity(uses: Iterable<number>): void {
    const counts = new Int32Array(this.size);
    for (const block of uses) counts[block]++;
    const blank = new Set(this.#blank);
    const cached = new Set(this.#cached);
    const right = blank.size === this.#blank.length && cached.size === this.#cached.size;
    if (!right) throw new Error("A block is twice among those that are free");
    for (let block = 0; block < this.size; block++) {
      const [users, name] = [this.#users[block], this.#names[block]];
      if (users !== counts[block]) {
        throw new Error(`Block ${block} has ${counts[block]} users and counts ${users}`);
      }
      if (blank.has(block) !== (users === 0 && name === null)) {
        throw new Error(`Block ${block} is wrongly among those without a name, or leaked`);
      }
      if (cached.has(block) !== (users === 0 && name !== null)) {
        throw new Error(`Block ${block} is wrongly among those that are cached, or leaked`);
      }
      if (name !== null && this.#byName.get(name) !== block) {
        throw new Error(`Block ${block} is not found by its name`);
      }
    }
    const named = this.#names.filter((name) => name !== null).length;
    if (named !== this.#byName.size) throw new Error("A name has no block");
  }

  #evict(): number {
    const block = this.#cached.shift();
    if (block < 0) throw new RangeError("Cannot take a block as none is free");
    this.#byName.delete(this.#names[block]!);
    this.#names[block] = null;
    return block;
  }
}
