/** Events of a simulation, the earliest first: a binary heap. */
export class EventQueue<T> {
  readonly #heap: { readonly at: number; readonly order: number; readonly event: T }[] = [];
  #order = 0;

  /** Events that are still to come. */
  get size(): number {
    return this.#heap.length;
  }

  /** Adds an event; of those at the same time the first added comes first. */
  push(at: number, event: T): void {
    const heap = this.#heap;
    let place = heap.push({ at, order: this.#order++, event }) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (this.#before(parent, place)) break;
      [heap[parent], heap[place]] = [heap[place], heap[parent]];
      place = parent;
    }
  }

  /** Takes the earliest event. */
  pop(): { readonly at: number; readonly event: T } | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last !== undefined && heap.length > 0) {
      heap[0] = last;
      for (let place = 0;;) {
        let least = place;
        for (const child of [2 * place + 1, 2 * place + 2]) {
          if (child < heap.length && this.#before(child, least)) least = child;
        }
        if (least === place) break;
        [heap[least], heap[place]] = [heap[place], heap[least]];
        place = least;
      }
    }
    return first;
  }

  #before(a: number, b: number): boolean {
    const [first, second] = [this.#heap[a], this.#heap[b]];
    return first.at !== second.at ? first.at < second.at : first.order < second.order;
  }
}
