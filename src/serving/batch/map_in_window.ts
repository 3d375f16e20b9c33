/**
 * Works on the items of a stream side by side, holding a bounded number of them.
 * @module
 */

/** Whether results come in the order of their items, or as they are ready. */
export type ResultOrder = "input" | "completion";

/** Options of {@linkcode mapInWindow}. */
export interface WindowOptions {
  /** Items that are worked on at once. */
  readonly concurrency: number;
  /** Items that were taken and whose results have not been given out, at most. At least `concurrency`. */
  readonly window: number;
  /** Order of the results. */
  readonly order: ResultOrder;
  /** Ends everything: the work under way gets a signal, and the consumer this one's reason. */
  readonly signal?: AbortSignal;
}

/**
 * The results of `work` on each item. Items are taken when there is room for them and no sooner, so that neither
 * a slow consumer nor, in the order of the input, one slow item makes others pile up beyond the window. Work that
 * rejects, an input that throws and a consumer that stops end it all: what is under way gets a signal.
 */
export async function* mapInWindow<I, O>(
  items: AsyncIterable<I> | Iterable<I>,
  work: (item: I, options: { readonly index: number; readonly signal: AbortSignal }) => Promise<O>,
  options: WindowOptions,
): AsyncGenerator<O, void, void> {
  const { concurrency, window, order, signal } = options;
  signal?.throwIfAborted();
  const source = iteratorOf(items);
  const end = new AbortController();
  const [room, arrival] = [new Bell(), new Bell()];
  const running = new Set<Promise<void>>();
  const ready = new Map<number, O>();
  let [taken, given] = [0, 0];
  let [exhausted, taking] = [false, false];
  let failure: { readonly error: unknown } | null = null;

  const fail = (error: unknown): void => {
    failure ??= { error };
    arrival.ring();
  };
  const start = (item: I): void => {
    const index = taken++;
    const task = work(item, { index, signal: end.signal })
      .then((result) => void ready.set(index, result), fail)
      .finally(() => {
        running.delete(task);
        room.ring();
        arrival.ring();
      });
    running.add(task);
  };
  const take = async (): Promise<void> => {
    try {
      while (!end.signal.aborted) {
        if (running.size >= concurrency || taken - given >= window) {
          await room.rung();
          continue;
        }
        taking = true;
        const { done, value } = await source.next();
        taking = false;
        if (done) exhausted = true;
        if (done || end.signal.aborted) break;
        start(value);
      }
    } catch (error) {
      exhausted = true;
      fail(error);
    }
    arrival.ring();
  };
  const onAbort = (): void => fail(signal!.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  take();
  try {
    while (true) {
      if (failure !== null) throw (failure as { readonly error: unknown }).error;
      const index: number | undefined = order === "input" ? given : ready.keys().next().value;
      if (index !== undefined && ready.has(index)) {
        const result = ready.get(index)!;
        ready.delete(index);
        given++;
        room.ring();
        yield result;
      } else if (exhausted && running.size === 0) {
        return;
      } else {
        await arrival.rung();
      }
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    end.abort(signal?.reason);
    room.ring();
    await Promise.all(running);
    if (!exhausted) {
      const closed = Promise.resolve(source.return?.());
      // An input that waits for its next item may do so forever.
      if (taking) closed.catch(() => {});
      else await closed;
    }
  }
}

function iteratorOf<I>(items: AsyncIterable<I> | Iterable<I>): AsyncIterator<I> | Iterator<I> {
  return Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
}

/** Wakes who waits; a ring that nobody hears is kept for the next. */
class Bell {
  #next = Promise.withResolvers<void>();

  ring(): void {
    this.#next.resolve();
  }

  async rung(): Promise<void> {
    await this.#next.promise;
    this.#next = Promise.withResolvers();
  }
}
