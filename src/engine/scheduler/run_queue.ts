/**
 * Which sequences hold blocks and which wait for them.
 * @module
 */
import type { BlockManager } from "./block_manager.ts";
import type { Sequence } from "./sequence.ts";

/** What an admission depends on besides blocks. */
export interface AdmissionLimits {
  /** The plans up to this one have retired. */
  readonly retiredStep: number;
  /** Blocks that it may take from the cache. */
  readonly maxHitBlocks: number;
}

/**
 * Running and waiting sequences, each in order of priority and, among equals, of arrival. The first that waits is
 * admitted first, and the last that runs is the first to lose its blocks. So the first of all that run is never
 * preempted, and the queue always advances; among equals every running sequence arrived before every waiting one.
 */
export class RunQueue {
  readonly #blocks: BlockManager;
  readonly #running: Sequence[] = [];
  readonly #waiting: Sequence[] = [];
  readonly #prefix: number[] = [];
  readonly #begun: (number | string)[] = [];
  #preemptions = 0;
  #cacheQueries = 0;
  #cacheHits = 0;

  /** Admits into the blocks and slots of `blocks`. */
  constructor(blocks: BlockManager) {
    this.#blocks = blocks;
  }

  /** Sequences that have work left to plan and hold a slot, in their order. */
  get running(): readonly Sequence[] {
    return this.#running;
  }

  /** Number of sequences that hold no slot and still have work to plan. */
  get numWaiting(): number {
    return this.#waiting.length;
  }

  /** Known tokens that no plan covers yet. */
  get unplannedTokens(): number {
    let tokens = 0;
    for (const { prefilling, prefillEnd, numComputed } of this.#running) {
      if (prefilling) tokens += prefillEnd - numComputed;
    }
    for (const { numKnown } of this.#waiting) tokens += numKnown;
    return tokens;
  }

  /** Times a sequence lost its blocks to one before it. */
  get preemptions(): number {
    return this.#preemptions;
  }

  /** Tokens of prompts that were looked for in the cache. */
  get cacheQueries(): number {
    return this.#cacheQueries;
  }

  /** Those among them that were found. */
  get cacheHits(): number {
    return this.#cacheHits;
  }

  /** Calls back with each sequence that was admitted for the first time since the last call. */
  takeBegun(take: (id: number | string) => void): void {
    for (let i = 0; i < this.#begun.length; i++) take(this.#begun[i]);
    this.#begun.length = 0;
  }

  /** Queues a sequence that has just arrived. */
  add(sequence: Sequence): void {
    insert(this.#waiting, sequence);
  }

  /** Takes a sequence out, wherever it is; what it holds is free when its last plan has retired. */
  remove(sequence: Sequence): void {
    if (sequence.table === null) {
      const place = this.#waiting.indexOf(sequence);
      if (place >= 0) this.#waiting.splice(place, 1);
    } else {
      this.#running.splice(this.#running.indexOf(sequence), 1);
      this.#release(sequence);
    }
  }

  /**
   * Positions that a running sequence can be given beyond those it has computed. When there is none,
   * those after it are preempted, unless blocks are about to be free anyway; 0 means it has to wait.
   */
  roomFor(sequence: Sequence): number {
    const { table } = sequence;
    if (table === null) return 0;
    for (;;) {
      const room = this.#blocks.reachOf(table) - sequence.numComputed;
      if (room > 0) return room;
      const victim = this.#running[this.#running.length - 1];
      if (victim === sequence || this.#blocks.numDraining > 0) return 0;
      this.#preempt(victim);
    }
  }

  /**
   * Admits the first waiting sequence, with the blocks that are cached of it, or returns null: none waits, no slot
   * is free, plans of its former run are in flight (its tokens are not all known), more than `maxHitBlocks` are
   * cached, or the free blocks do not suffice for its known tokens beside what the running sequences take next: it
   * would soon be preempted.
   */
  admit({ retiredStep, maxHitBlocks }: AdmissionLimits): Sequence | null {
    const sequence = this.#waiting.at(0);
    if (sequence === undefined || sequence.lastStep > retiredStep) return null;
    const prefix = this.#prefix;
    this.#blocks.findCached(sequence, { start: 0, end: sequence.blocksWanted }, prefix);
    if (prefix.length > maxHitBlocks) return null;
    let needed = this.#blocksWanted(sequence) - prefix.length + this.#blocks.countFree(prefix);
    for (const other of this.#running) {
      needed += Math.max(0, this.#blocksWanted(other) - (other.table?.blocks.length ?? 0));
    }
    if (needed > this.#blocks.numFree) return null;
    const table = this.#blocks.open();
    if (table === null) return null;
    this.#blocks.join(table, prefix);
    this.#waiting.shift();
    if (sequence.lastStep < 0) this.#begun.push(sequence.id);
    this.#cacheQueries += sequence.admit(table);
    this.#cacheHits += sequence.takeOver(prefix.length);
    insert(this.#running, sequence);
    return sequence;
  }

  /**
   * Takes what others have computed of a running sequence meanwhile, if it has not begun the block after its last
   * one, and up to `maxHitBlocks` blocks; returns how many.
   */
  takeCached(sequence: Sequence, maxHitBlocks: number): number {
    const { table, blocksWanted } = sequence;
    if (table === null) return 0;
    const start = table.blocks.length;
    if (start >= blocksWanted || start * this.#blocks.blockSize !== sequence.numComputed) return 0;
    const end = Math.min(blocksWanted, start + maxHitBlocks);
    this.#blocks.findCached(sequence, { start, end }, this.#prefix);
    this.#blocks.join(table, this.#prefix);
    this.#cacheHits += sequence.takeOver(this.#prefix.length);
    return this.#prefix.length;
  }

  /** Throws when a sequence is out of order, runs without a table, or waits with one. */
  checkIntegrity(): void {
    for (const list of [this.#running, this.#waiting]) {
      list.forEach((sequence, i) => {
        const isInOrder = i === 0 || isBefore(list[i - 1], sequence);
        if (isInOrder && (sequence.table !== null) === (list === this.#running)) return;
        throw new Error(`A sequence is out of place in the queue: ${sequence.id}`);
      });
    }
  }

  /** Blocks that a sequence holds once its known tokens and the next one are computed. */
  #blocksWanted(sequence: Sequence): number {
    const next = Math.max(sequence.numKnown, sequence.numComputed) + 1;
    return this.#blocks.blocksFor(Math.min(next, sequence.numPositions));
  }

  #preempt(victim: Sequence): void {
    this.#running.pop();
    insert(this.#waiting, victim);
    this.#release(victim);
    this.#preemptions++;
  }

  #release(sequence: Sequence): void {
    this.#blocks.release(sequence.table!, sequence.lastStep);
    sequence.table = null;
  }
}

function isBefore(one: Sequence, other: Sequence): boolean {
  return (one.priority - other.priority || one.arrival - other.arrival) < 0;
}

/** Puts a sequence to its place, mostly the end. */
function insert(list: Sequence[], sequence: Sequence): void {
  let place = list.length;
  while (place > 0 && isBefore(sequence, list[place - 1])) place--;
  list.splice(place, 0, sequence);
}
