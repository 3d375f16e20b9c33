/**
 * Hands out the blocks of the paged KV cache, and shares those that hold the same.
 * @module
 */
import type { BlockName } from "./block_names.ts";
import { BlockPool } from "./block_pool.ts";

/** The blocks of one sequence, in order of position. */
export interface BlockTable {
  /** Row of the ranks' block tables and of the token board; no other open or draining table has it. */
  readonly slot: number;
  /** Block numbers: position p lies in `blocks[floor(p / blockSize)]`. */
  readonly blocks: readonly number[];
}

/** A sequence whose full blocks have names. */
export interface NamedBlocks {
  /** Name of its block at `place`, all of whose tokens must be known. */
  nameOf(place: number): BlockName;
}

/** Options of {@linkcode BlockManager}. */
export interface BlockManagerOptions {
  /** Blocks in the pool. */
  readonly numBlocks: number;
  /** Tokens in a block. */
  readonly blockSize: number;
  /** Tables that may be open or draining at once. */
  readonly numSlots: number;
}

interface OpenTable extends BlockTable {
  readonly blocks: number[];
}

interface Draining {
  readonly table: OpenTable;
  readonly lastStep: number;
}

/**
 * Block tables over a pool of blocks and slots. A released table keeps both until the last plan that uses them has
 * retired: until then a rank may still write there. Tables share blocks that are full and equal, by name; such a
 * block is never written again.
 */
export class BlockManager {
  /** Tokens in a block. */
  readonly blockSize: number;
  readonly #pool: BlockPool;
  readonly #numSlots: number;
  readonly #freeSlots: number[] = [];
  readonly #open = new Set<OpenTable>();
  #draining: Draining[] = [];
  #numDrainingBlocks = 0;
  #retiredStep = -1;

  /** Makes a pool in which every block is free; throws RangeError when a size is not positive. */
  constructor(options: BlockManagerOptions) {
    for (const [name, value] of Object.entries(options)) {
      if (!Number.isSafeInteger(value) || value < 1) {
        throw new RangeError(
          `Cannot manage blocks as ${name} must be a positive integer: current value is ${value}`,
        );
      }
    }
    this.blockSize = options.blockSize;
    this.#pool = new BlockPool(options.numBlocks);
    this.#numSlots = options.numSlots;
    for (let slot = options.numSlots - 1; slot >= 0; slot--) this.#freeSlots.push(slot);
  }

  /** Blocks in the pool. */
  get numBlocks(): number {
    return this.#pool.size;
  }

  /** Blocks that can be handed out now. */
  get numFree(): number {
    return this.#pool.numFree;
  }

  /** Blocks of released tables that plans in flight still use: those that nobody shares will be free. */
  get numDraining(): number {
    return this.#numDrainingBlocks;
  }

  /** Number of blocks that `numTokens` tokens take. */
  blocksFor(numTokens: number): number {
    return Math.ceil(numTokens / this.blockSize);
  }

  /** Writes to `found` the blocks that hold what those of `sequence` from `start` up to `end` would, while there are any. */
  findCached(
    sequence: NamedBlocks,
    { start, end }: { readonly start: number; readonly end: number },
    found: number[],
  ): void {
    let count = 0;
    while (start + count < end) {
      const block = this.#pool.find(sequence.nameOf(start + count));
      if (block < 0) break;
      found[count++] = block;
    }
    while (found.length > count) found.pop();
  }

  /** Those of `blocks` that nobody uses. */
  countFree(blocks: readonly number[]): number {
    let count = 0;
    for (let i = 0; i < blocks.length; i++) if (this.#pool.isFree(blocks[i])) count++;
    return count;
  }

  /** Opens an empty table; null when every slot is in use. */
  open(): BlockTable | null {
    const slot = this.#freeSlots.pop();
    if (slot === undefined) return null;
    const table: OpenTable = { slot, blocks: [] };
    this.#open.add(table);
    return table;
  }

  /** Adds `blocks`, which were found, to the end of `table`. */
  join(table: BlockTable, blocks: readonly number[]): void {
    const open = this.#own(table);
    for (let i = 0; i < blocks.length; i++) {
      this.#pool.join(blocks[i]);
      open.blocks.push(blocks[i]);
    }
  }

  /** Tokens that `table` could hold if it took every free block. */
  reachOf(table: BlockTable): number {
    return (table.blocks.length + this.#pool.numFree) * this.blockSize;
  }

  /** Adds the blocks that `table` lacks to hold `numTokens` tokens; throws RangeError, and adds none, when they are not free. */
  extend(table: BlockTable, numTokens: number): void {
    const open = this.#own(table);
    const count = this.blocksFor(numTokens) - open.blocks.length;
    if (count > this.#pool.numFree) {
      throw new RangeError(
        `Cannot extend a block table by ${count} blocks as fewer are free: ${this.#pool.numFree}`,
      );
    }
    for (let i = 0; i < count; i++) open.blocks.push(this.#pool.take());
  }

  /**
   * Lets others find the block at `place` of a table, open or draining, by its name: the plans that fill it have
   * retired, and none writes there again.
   */
  share(table: BlockTable, place: number, name: BlockName): void {
    this.#pool.name(table.blocks[place], name);
  }

  /** Gives up `table`; its blocks and slot are free once the plan of `lastStep` has retired (-1: now). */
  release(table: BlockTable, lastStep: number): void {
    const open = this.#own(table);
    this.#open.delete(open);
    if (lastStep <= this.#retiredStep) {
      this.#free(open);
    } else {
      this.#draining.push({ table: open, lastStep });
      this.#numDrainingBlocks += open.blocks.length;
    }
  }

  /** Says that the plans up to `step` have retired. */
  retire(step: number): void {
    this.#retiredStep = step;
    if (this.#draining.length === 0) return;
    const stillDraining: Draining[] = [];
    for (const entry of this.#draining) {
      if (entry.lastStep > step) {
        stillDraining.push(entry);
      } else {
        this.#numDrainingBlocks -= entry.table.blocks.length;
        this.#free(entry.table);
      }
    }
    this.#draining = stillDraining;
  }

  /** Throws when users of a block are miscounted, or one or a slot was leaked; for tests, as it visits the whole pool. */
  checkIntegrity(): void {
    const draining = this.#draining.map((entry) => entry.table);
    const tables = [...this.#open, ...draining];
    this.#pool.checkIntegrity(tables.flatMap((table) => table.blocks));
    for (const { slot, blocks } of tables) {
      if (new Set(blocks).size === blocks.length) continue;
      throw new Error(`A block is twice in one table: slot ${slot}`);
    }
    const slots = [...this.#freeSlots, ...tables.map((table) => table.slot)];
    if (slots.length !== this.#numSlots || new Set(slots).size !== this.#numSlots) {
      throw new Error(`A slot has two owners or none: ${slots.join()}`);
    }
    const numDraining = draining.reduce((sum, table) => sum + table.blocks.length, 0);
    if (numDraining !== this.#numDrainingBlocks) {
      throw new Error(`Draining blocks are miscounted: ${this.#numDrainingBlocks}`);
    }
  }

  #own(table: BlockTable): OpenTable {
    const open = table as OpenTable;
    if (!this.#open.has(open)) {
      throw new RangeError(`Cannot use a block table as it is not open: slot ${table.slot}`);
    }
    return open;
  }

  /** The last blocks first: of a prefix that nobody uses the end is lost first, as it is of no use without the rest. */
  #free(table: OpenTable): void {
    for (let i = table.blocks.length - 1; i >= 0; i--) this.#pool.leave(table.blocks[i]);
    this.#freeSlots.push(table.slot);
  }
}
