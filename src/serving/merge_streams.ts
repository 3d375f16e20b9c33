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
  const advance = async (index: number): Promise<Arrival> => ({
    index,
    result: await sources[index].next(),
  });
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
    for (const [index, arrival] of pending) {
      const ignore = (): void => {};
      arrival.catch(ignore);
      sources[index].return?.().catch(ignore);
    }
  }
}
