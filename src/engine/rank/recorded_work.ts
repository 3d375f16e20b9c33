/**
 * Work that is repeated on the same buffers.
 * @module
 */
import type { Device, Recording } from "../../tensor/device.ts";

/**
 * Runs work as it is the first time, which lets it allocate and load what it needs; records it the second
 * time, and replays the recording from then on.
 */
export class RecordedWork implements Disposable {
  readonly #device: Device;
  readonly #work: () => void;
  #hasRun = false;
  #recording: Recording | null = null;

  /** Work that calls the same kernels on the same buffers each time, and does nothing else. */
  constructor(device: Device, work: () => void) {
    this.#device = device;
    this.#work = work;
  }

  /** Queues the work. */
  run(): void {
    if (!this.#hasRun) {
      this.#work();
      this.#hasRun = true;
      return;
    }
    this.#recording ??= this.#device.record(this.#work);
    this.#recording.replay();
  }

  /** Frees the recording; nothing of it may be pending. */
  [Symbol.dispose](): void {
    this.#recording?.[Symbol.dispose]();
    this.#recording = null;
  }
}
