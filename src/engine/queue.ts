/**
 * A queue that leaves no garbage.
 * @module
 */

/** First in, first out, in memory that it keeps: an array gives its own back whenever it is empty. */
export class Queue<T> {
  /** A ring. */
  #items: (T | undefined)[] = [undefined];
  #first = 0;
  #size = 0;

  /** Items in it. */
  get size(): number {
    return this.#size;
  }

  /** Appends an item. */
  push(item: T): void {
    const capacity = this.#items.length;
    if (this.#size === capacity) {
      const more = new Array<undefined>(capacity).fill(undefined);
      this.#items = [
        ...this.#items.slice(this.#first),
        ...this.#items.slice(0, this.#first),
        ...more,
      ];
      this.#first = 0;
    }
    this.#items[(this.#first + this.#size++) % this.#items.length] = item;
  }

  /** Removes the oldest item; undefined when there is none. */
  shift(): T | undefined {
    if (this.#size === 0) return undefined;
    const item = this.#items[this.#first];
    this.#items[this.#first] = undefined;
    this.#first = (this.#first + 1) % this.#items.length;
    this.#size--;
    return item;
  }
}
