/**
 * Hands out the blocks of the paged KV cache.
 * @module
 */

/** The blocks of one sequence, in order of position. */
export interface BlockTable {
  /** Row of the ranks' block tables and of the token board; no other open or draining table has it. */
  readonly slot: number;
  /** Block numbers: position p lies in `blocks[floor(p / blockSize)]`. */
  readonly blocks: readonly number[];
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
 * Pool of blocks and slots. A released table keeps both until the last plan that uses them has
 * retired: until then a rank may still write there. The free lists are stacks, so that the same
 * calls give the same blocks, and the blocks used last (warm in cache) are used next.
 */
export class BlockManager {
  /** Blocks in the pool. */
  readonly numBlocks: number;
  /** Tokens in a block. */
  readonly blockSize: number;
  readonly #numSlots: number;
  readonly #freeBlocks: number[] = [];
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
    this.numBlocks = options.numBlocks;
    this.blockSize = options.blockSize;
    this.#numSlots = options.numSlots;
    for (let block = options.numBlocks - 1; block >= 0; block--) this.#freeBlocks.push(block);
    for (let slot = options.numSlots - 1; slot >= 0; slot--) this.#freeSlots.push(slot);
  }

  /** Blocks that can be handed out now. */
  get numFree(): number {
    return this.#freeBlocks.length;
  }

  /** Blocks that will be free when plans in flight have retired. */
  get numDraining(): number {
    return this.#numDrainingBlocks;
  }

  /** Number of blocks that `numTokens` tokens take. */
  blocksFor(numTokens: number): number {
    return Math.ceil(numTokens / this.blockSize);
  }

  /** Opens an empty table; null when every slot is in use. */
  open(): BlockTable | null {
    const slot = this.#freeSlots.pop();
    if (slot === undefined) return null;
    const table: OpenTable = { slot, blocks: [] };
    this.#open.add(table);
    return table;
  }

  /** Tokens that `table` could hold if it took every free block. */
  reachOf(table: BlockTable): number {
    return (table.blocks.length + this.#freeBlocks.length) * this.blockSize;
  }

  /**
   * Adds the blocks that `table` lacks to hold `numTokens` tokens, and returns them in `added`, which is
   * emptied first. Throws RangeError, and adds none, when they are not free.
   */
  extend(table: BlockTable, numTokens: number, added: number[] = []): readonly number[] {
    const open = this.#own(table);
    while (added.length > 0) added.pop();
    const count = this.blocksFor(numTokens) - open.blocks.length;
    if (count > this.#freeBlocks.length) {
      throw new RangeError(
        `Cannot extend a block table by ${count} blocks as fewer are free: ${this.#freeBlocks.length}`,
      );
    }
    for (let i = 0; i < count; i++) {
      const block = this.#freeBlocks.pop()!;
      added.push(block);
      open.blocks.push(block);
    }
    return added;
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

  /** Throws when a block or slot has two owners or none; for tests, as it visits the whole pool. */
  checkIntegrity(): void {
    const draining = this.#draining.map((entry) => entry.table);
    const tables = [...this.#open, ...draining];
    checkPartition("block", this.numBlocks, [
      this.#freeBlocks,
      ...tables.map((table) => table.blocks),
    ]);
    checkPartition("slot", this.#numSlots, [
      this.#freeSlots,
      tables.map((table) => table.slot),
    ]);
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

  #free(table: OpenTable): void {
    for (let i = table.blocks.length - 1; i >= 0; i--) this.#freeBlocks.push(table.blocks[i]);
    this.#freeSlots.push(table.slot);
  }
}

/** Throws unless the owners hold each of the numbers 0 to `count - 1` exactly once. */
function checkPartition(kind: string, count: number, owners: readonly (readonly number[])[]): void {
  const seen = new Set<number>();
  for (const owner of owners) {
    for (const item of owner) {
      if (item < 0 || item >= count || seen.has(item)) {
        throw new Error(`A ${kind} has two owners or lies outside the pool: ${item}`);
      }
      seen.add(item);
    }
  }
  if (seen.size !== count) throw new Error(`A ${kind} was leaked: ${seen.size} of ${count} found`);
}
