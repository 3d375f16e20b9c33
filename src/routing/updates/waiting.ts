/**
 * Waiting for several things.
 * @module
 */
import { within } from "../within.ts";

/**
 * `work` for each item, `width` at a time. The first failure starts no more, and is thrown when those that run have
 * ended.
 */
export async function forEachAtOnce<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = [...items];
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    while (waiting.length > 0 && failures.length === 0) {
      try {
        await work(waiting.shift()!);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
}

/** Times that {@linkcode repeat} tries. */
const ATTEMPTS = 3;

/** Tries a few times. Resolves with whether `work` has succeeded. */
export async function repeat(
  work: () => Promise<void>,
  { retryMs, onFailure }: {
    readonly retryMs: number;
    readonly onFailure: (error: unknown) => void;
  },
): Promise<boolean> {
  for (let left = ATTEMPTS; left > 0; left--) {
    try {
      await work();
      return true;
    } catch (error) {
      onFailure(error);
      if (left > 1) await within(new Promise(() => {}), retryMs);
    }
  }
  return false;
}
