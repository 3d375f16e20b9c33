/**
 * Where each running sequence's keys and values lie, on the host and on the device.
 * @module
 */
import { KV_BLOCK_SIZE } from "../../tensor/attention_kernels.ts";
import type { Device } from "../../tensor/device.ts";
import { Tensor } from "../../tensor/tensor.ts";
import type { PlannedSequence } from "../step_plan.ts";

/** Options of {@linkcode BlockTables}. */
export interface BlockTablesOptions {
  /** Device that holds the tables. */
  readonly device: Device;
  /** Rows besides the null row: a row a slot. */
  readonly numSlots: number;
  /** Positions that a sequence may take. */
  readonly maxModelLen: number;
}

/**
 * Block tables by slot. Plans only add to them, so they stay on the device and take in what is new. One
 * more row, the null table, names the null block alone: padding reads and writes there.
 */
export class BlockTables implements Disposable {
  /** i32 `[numSlots + 1, maxBlocks]`. */
  readonly tensor: Tensor;
  /** Row of the null table. */
  readonly nullRow: number;
  readonly #device: Device;
  readonly #entries: Tensor;
  readonly #host: Int32Array;
  readonly #maxBlocks: number;

  /** Allocates the tables. */
  constructor({ device, numSlots, maxModelLen }: BlockTablesOptions) {
    this.#device = device;
    this.nullRow = numSlots;
    this.#maxBlocks = Math.ceil(maxModelLen / KV_BLOCK_SIZE);
    const shape = [numSlots + 1, this.#maxBlocks];
    this.tensor = Tensor.allocate(device, { shape, dtype: "i32" });
    this.#host = new Int32Array(this.tensor.size);
    const { address, size } = this.tensor;
    this.#entries = Tensor.view(device, address, { shape: [size], dtype: "i32" });
  }

  /** Empties all tables: every entry names the null block, so that none points outside the cache. */
  reset(nullBlock: number): void {
    this.tensor.upload(this.#host.fill(nullBlock));
  }

  /**
   * Notes a planned sequence's new blocks, and from `offset` on what the device has to be told; returns
   * how many those are.
   */
  extend(
    { slot, firstNewBlock, newBlocks }: PlannedSequence,
    noted: { readonly newBlocks: Int32Array; readonly newBlockPlaces: Int32Array },
    offset: number,
  ): number {
    const first = slot * this.#maxBlocks + firstNewBlock;
    for (let i = 0; i < newBlocks.length; i++) {
      this.#host[first + i] = newBlocks[i];
      noted.newBlocks[offset + i] = newBlocks[i];
      noted.newBlockPlaces[offset + i] = first + i;
    }
    return newBlocks.length;
  }

  /** Puts `count` noted entries into the device's tables, after the kernels that were queued before. */
  apply(blocks: Tensor, places: Tensor, count: number): void {
    // To the kernel an entry is a token and its place a slot.
    this.#device.scatterTokens(this.#entries, blocks, places, count);
  }

  /** Place in the cache of a position by a row of the tables: a slot's or the null table. */
  cacheSlot(row: number, position: number): number {
    const block = this.#host[row * this.#maxBlocks + Math.floor(position / KV_BLOCK_SIZE)];
    return block * KV_BLOCK_SIZE + position % KV_BLOCK_SIZE;
  }

  /** Frees the tables. */
  [Symbol.dispose](): void {
    this.tensor[Symbol.dispose]();
  }
}
