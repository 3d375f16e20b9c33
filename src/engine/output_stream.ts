/**
 * A queue between the thread that produces a request's tokens and the one that consumes them.
 * @module
 */

/** Where outputs go. */
export interface OutputSink<T> {
  /** Takes the next one. */
  push(item: T): void;
  /** There are no more, and why. */
  fail(error: Error): void;
}

/** Single-consumer queue; what is pushed after {@linkcode OutputStream.fail} is dropped. */
export class OutputStream<T> implements OutputSink<T> {
  readonly #items: T[] = [];
  #failure: Error | null = null;
  #wake: (() => void) | null = null;

  /** Appends an item. */
  push(item: T): void {
    if (this.#failure) return;
    this.#items.push(item);
    this.#notify();
  }

  /** Makes `next` throw once the items before it are consumed. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#notify();
  }

  /** The oldest item; waits for one. */
  async next(): Promise<T> {
    while (this.#items.length === 0) {
      if (this.#failure) throw this.#failure;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.#items.shift()!;
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
