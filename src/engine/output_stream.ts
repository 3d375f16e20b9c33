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
  #waiting: PromiseWithResolvers<T> | null = null;

  /** Appends an item. */
  push(item: T): void {
    if (this.#failure) return;
    if (this.#waiting === null) this.#items.push(item);
    this.#waiting?.resolve(item);
    this.#waiting = null;
  }

  /** Makes `next` throw once the items before it are consumed. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#waiting?.reject(this.#failure);
    this.#waiting = null;
  }

  /** The oldest item; waits for one. One call at a time. */
  next(): Promise<T> {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift()!);
    if (this.#failure) return Promise.reject(this.#failure);
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }
}
