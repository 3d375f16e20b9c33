/**
 * Changes logits before tokens are drawn from them: penalties, biases, bans and masks.
 * @module
 */
import { LOGIT_ENTRY_WORDS as ENTRY, type LogitEntries } from "../../tensor/sampling_kernels.ts";
import { Tensor } from "../../tensor/tensor.ts";
import type { SamplerOptions, SampleRow, SamplingWork } from "./sample_row.ts";

/** Parts of what is uploaded begin at multiples of it: 64 bytes. */
const ALIGNMENT = 16;

/** Memory for entries, on both sides: where rows begin, their masks, and the entries themselves. */
interface Entries extends Disposable {
  readonly host: Int32Array<ArrayBuffer>;
  readonly memory: Tensor;
  /** Where the numbers of masks, and the entries, begin. */
  readonly firstMaskRow: number;
  readonly firstEntry: number;
  readonly kernel: LogitEntries;
  readonly maskRows: Tensor;
  /** f32 `[rows, 2]`: maxima and sums of the adjusted logits. */
  readonly stats: Tensor;
}

/** Memory for masks, on both sides. */
interface Masks {
  readonly words: number;
  readonly host: Int32Array<ArrayBuffer>;
  readonly memory: Tensor;
}

/**
 * Adjusts the rows of a step that ask for it, and puts back what log-probabilities need. Memory is taken when
 * the first such row comes, or by {@linkcode reserve}, for as many entries as a step may have: its addresses
 * stay, so that the work can be recorded.
 */
export class LogitAdjuster implements Disposable {
  readonly #options: SamplerOptions;
  #entries: Entries | null = null;
  #masks: Masks | null = null;

  /** Adjusts the logits of a sampler. */
  constructor(options: SamplerOptions) {
    this.#options = options;
  }

  /** Takes all memory that it ever takes. */
  reserve(): void {
    this.#entries ??= this.#allocateEntries();
    this.#masks ??= this.#allocateMasks();
  }

  /** f32 `[maxRows, 2]`, for maxima and sums of adjusted logits; there once something was uploaded. */
  get stats(): Tensor {
    return this.#uploaded.stats;
  }

  /** Uploads what the rows ask for. Throws RangeError when these are more entries than a step may have. */
  upload(rows: readonly SampleRow[], work: SamplingWork): void {
    const { host, memory, firstMaskRow, firstEntry } = this.#entries ??= this.#allocateEntries();
    let count = 0, masks = 0;
    for (let row = 0; row < work.rows; row++) {
      const adjustments = row < rows.length ? rows[row].adjustments : null;
      host[row] = count;
      host[firstMaskRow + row] = -1;
      if (adjustments === null) continue;
      const { entries, mask } = adjustments;
      this.#verifyFits(count + adjustments.count);
      host.set(entries.subarray(0, ENTRY * adjustments.count), firstEntry + ENTRY * count);
      count += adjustments.count;
      if (mask === null) continue;
      const { host: masksHost, words } = this.#masks ??= this.#allocateMasks();
      masksHost.set(mask.subarray(0, words), words * masks);
      host[firstMaskRow + row] = masks++;
    }
    host[work.rows] = count;
    memory.upload(host.subarray(0, firstEntry + ENTRY * count));
    if (this.#masks !== null && masks > 0) {
      this.#masks.memory.upload(this.#masks.host.subarray(0, this.#masks.words * masks));
    }
  }

  /** Adjusts the logits of the rows that were uploaded; device work only. */
  adjust({ rows, masked }: SamplingWork): void {
    const { device, logits } = this.#options;
    const { kernel, maskRows } = this.#uploaded;
    if (masked && this.#masks !== null) {
      const { size, firstId } = kernel;
      device.maskLogits(logits, rows, { size, firstId, masks: this.#masks.memory, maskRows });
    }
    device.adjustLogits(logits, rows, kernel);
  }

  /** Puts back the logits of entries; those that are masked stay so, as none of them is drawn. Device work only. */
  restore({ rows }: SamplingWork): void {
    const { device, logits } = this.#options;
    device.restoreLogits(logits, rows, this.#uploaded.kernel);
  }

  get #uploaded(): Entries {
    if (this.#entries !== null) return this.#entries;
    throw new Error("Cannot adjust logits as nothing was uploaded");
  }

  #verifyFits(count: number): void {
    const { maxAdjustments } = this.#options;
    if (count <= maxAdjustments) return;
    throw new RangeError(
      `Cannot adjust more than ${maxAdjustments} logits in a step: these are ${count}`,
    );
  }

  #allocateEntries(): Entries {
    const { device, vocab, logits, maxAdjustments } = this.#options;
    const [rows] = logits.shape;
    const firstMaskRow = aligned(rows + 1);
    const firstEntry = firstMaskRow + aligned(rows);
    const length = firstEntry + ENTRY * maxAdjustments;
    using owned = new DisposableStack();
    const memory = owned.use(Tensor.allocate(device, { shape: [length], dtype: "i32" }));
    const saved = owned.use(Tensor.allocate(device, { shape: [maxAdjustments] }));
    const stats = owned.use(Tensor.allocate(device, { shape: [rows, 2] }));
    const part = (first: number, size: number) =>
      Tensor.view(device, memory.address + BigInt(4 * first), { shape: [size], dtype: "i32" });
    const all = owned.move();
    return {
      host: new Int32Array(length),
      memory,
      firstMaskRow,
      firstEntry,
      kernel: {
        size: vocab.paddedCount,
        firstId: vocab.firstId,
        starts: part(0, rows + 1),
        entries: part(firstEntry, ENTRY * maxAdjustments),
        saved,
      },
      maskRows: part(firstMaskRow, rows),
      stats,
      [Symbol.dispose]: () => all.dispose(),
    };
  }

  #allocateMasks(): Masks {
    const { device, vocab, logits } = this.#options;
    const [rows] = logits.shape;
    const words = Math.ceil(vocab.vocabSize / 32);
    return {
      words,
      host: new Int32Array(rows * words),
      memory: Tensor.allocate(device, { shape: [rows, words], dtype: "i32" }),
    };
  }

  /** Frees the memory. */
  [Symbol.dispose](): void {
    this.#entries?.[Symbol.dispose]();
    this.#masks?.memory[Symbol.dispose]();
  }
}

function aligned(count: number): number {
  return Math.ceil(count / ALIGNMENT) * ALIGNMENT;
}
