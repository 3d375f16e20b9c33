/**
 * The integers of a step: packed into one array, which is copied to the device at once.
 * @module
 */
import type { Device } from "../../tensor/device.ts";
import { Tensor } from "../../tensor/tensor.ts";

/** How much of everything a step has. */
export interface StepCounts {
  /** Tokens of the batch. */
  readonly tokens: number;
  /** Sequences of the batch. */
  readonly sequences: number;
  /** Rows of logits. */
  readonly rows: number;
  /** Entries that block tables gain. */
  readonly tableEntries: number;
}

/** The arrays of a step, each a part of one host array and of one device array. */
export interface StepArrays<T> {
  /** `[tokens]`: token ids. */
  readonly ids: T;
  /** `[tokens]`: absolute positions. */
  readonly positions: T;
  /** `[tokens]`: where in the cache keys and values go. */
  readonly slotMapping: T;
  /** `[tokens]`: slot whose drawn token is the id, or -1 where the id is known. */
  readonly sources: T;
  /** `[sequences + 1]`: first token of each sequence, then the number of tokens. */
  readonly queryStarts: T;
  /** `[sequences]`: position of each sequence's first token. */
  readonly contextStarts: T;
  /** `[sequences]`: each sequence's row of the block tables. */
  readonly tableRows: T;
  /** `[rows]`: token whose logits are wanted. */
  readonly logitIndex: T;
  /** `[rows]`: slot that keeps what is drawn. */
  readonly drawnSlots: T;
  /** `[tableEntries]`: blocks that join tables. */
  readonly newBlocks: T;
  /** `[tableEntries]`: where in the tables. */
  readonly newBlockPlaces: T;
}

/** One way to divide an arena, for steps of one size. */
export interface StepLayout {
  /** What it has room for. */
  readonly counts: StepCounts;
  /** Arrays to fill before {@linkcode StepArena.upload}. */
  readonly host: StepArrays<Int32Array>;
  /** The same on the device. */
  readonly device: StepArrays<Tensor>;
  /** Everything, in host memory. */
  readonly whole: Int32Array;
  /** Everything but the new blocks. */
  readonly withoutBlocks: Int32Array;
}

/** Parts begin at multiples of it: 64 bytes. */
const ALIGNMENT = 16;

/** Host and device memory for the integers of one step at a time. */
export class StepArena implements Disposable {
  readonly #device: Device;
  readonly #host: Int32Array<ArrayBuffer>;
  readonly #memory: Tensor;

  /** Allocates what the largest step needs. */
  constructor(device: Device, largest: StepCounts) {
    const { length } = placeArrays(largest);
    this.#device = device;
    this.#host = new Int32Array(length);
    this.#memory = Tensor.allocate(device, { shape: [length], dtype: "i32" });
  }

  /** Divides the arena for steps of one size; throws RangeError when that is too large. */
  layOut(counts: StepCounts): StepLayout {
    const { starts, sizes, length } = placeArrays(counts);
    if (length > this.#host.length) {
      throw new RangeError(
        `Cannot lay out a step as the arena has ${this.#host.length} integers: it takes ${length}`,
      );
    }
    const host = {} as Record<keyof StepArrays<Int32Array>, Int32Array>;
    const device = {} as Record<keyof StepArrays<Tensor>, Tensor>;
    for (const name of Object.keys(starts) as (keyof StepArrays<number>)[]) {
      const [start, size] = [starts[name], sizes[name]];
      host[name] = this.#host.subarray(start, start + size);
      const address = this.#memory.address + BigInt(4 * start);
      device[name] = Tensor.view(this.#device, address, { shape: [size], dtype: "i32" });
    }
    return {
      counts,
      host,
      device,
      whole: this.#host.subarray(0, length),
      withoutBlocks: this.#host.subarray(0, starts.newBlocks),
    };
  }

  /** Copies host arrays of a layout, {@linkcode StepLayout.whole} or a part, to the device in the order of the kernels. */
  upload(integers: Int32Array): void {
    this.#memory.upload(integers);
  }

  /** Frees the device memory. */
  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
  }
}

function placeArrays(counts: StepCounts) {
  const { tokens, sequences, rows, tableEntries } = counts;
  // Those that only some steps need come last, so that the others don't copy them.
  const sizes: StepArrays<number> = {
    ids: tokens,
    positions: tokens,
    slotMapping: tokens,
    sources: tokens,
    queryStarts: sequences + 1,
    contextStarts: sequences,
    tableRows: sequences,
    logitIndex: rows,
    drawnSlots: rows,
    newBlocks: tableEntries,
    newBlockPlaces: tableEntries,
  };
  const starts = {} as Record<keyof StepArrays<number>, number>;
  let length = 0;
  for (const name of Object.keys(sizes) as (keyof StepArrays<number>)[]) {
    starts[name] = length;
    length += Math.ceil(sizes[name] / ALIGNMENT) * ALIGNMENT;
  }
  return { starts: starts as StepArrays<number>, sizes, length };
}
