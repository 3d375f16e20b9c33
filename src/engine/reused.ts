/**
 * Objects that are written anew with every step, so that a step leaves no garbage.
 * @module
 */

/** A type whose fields may be written: by its owner, who hands it out as `T`. */
export type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** A list that is written over and over: one that is no longer than before makes no object. */
export class ReusedList<T> {
  readonly #make: () => T;
  readonly #known: T[] = [];
  readonly #items: T[] = [];
  #count = 0;

  /** A list of nothing; `make` makes each item at its first use. */
  constructor(make: () => T) {
    this.#make = make;
  }

  /** The same list at all times; whole after {@linkcode end}, and until the next {@linkcode begin}. */
  get items(): readonly T[] {
    return this.#items;
  }

  /** Items since {@linkcode begin}. */
  get count(): number {
    return this.#count;
  }

  /** Begins again with no item. */
  begin(): void {
    this.#count = 0;
  }

  /** Adds an item, to be written by the caller: it is as it was left when it was used last. */
  add(): T {
    const place = this.#count++;
    if (place === this.#known.length) this.#known.push(this.#make());
    if (place === this.#items.length) this.#items.push(this.#known[place]);
    return this.#known[place];
  }

  /** Drops the items that have not been added again. */
  end(): void {
    while (this.#items.length > this.#count) this.#items.pop();
  }
}
