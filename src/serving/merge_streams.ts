/**
 * Merges several streams in the order of arrival.
 * @module
 */

/**
 * Yields `[index of the source, value]` as values arrive. At most one value of each source is
 * fetched ahead. The first error ends the merge. Sources that still run when the merge ends are
 * asked to return, without waiting for it: a source may be stuck until it is cancelled otherwise.
 */
export async function* mergeStreams<T>(
  sources: readonly AsyncIterator<T, void>[],
): AsyncGenerator<readonly [number, T], void> {
  type Arrival = { readonly index: number; readonly result: IteratorResult<T, void> };
  const advance = (index: number): Promise<Arrival> => {
    const arrival = sources[index].next().then((result): Arrival => ({ index, result }));
    // An error is met when the consumer comes back, if it does: until then nobody looks at it, and
    // one that nobody looks at would end the process.
    arrival.catch(() => {});
    return arrival;
  };
  const pending = new Map(sources.map((_, index) => [index, advance(index)]));
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      // Taken out and put back at the end: a source that is always ready must not starve others.
      pending.delete(index);
      if (result.done) continue;
      pending.set(index, advance(index));
      yield [index, result.value];
    }
  } finally {
    for (const index of pending.keys()) sources[index].return?.().catch(() => {});
  }
}
