/**
 * Reads the counts that `deno test` prints at its end.
 * @module
 */

/** How many tests passed, failed and were ignored. */
export interface TestCounts {
  /** Tests that passed. */
  readonly passed: number;
  /** Tests that failed. */
  readonly failed: number;
  /** Tests that were ignored. */
  readonly ignored: number;
}

/** Counts in the closing line of uncoloured `deno test` output; null when there is none. */
export function readTestCounts(output: string): TestCounts | null {
  const closing = [
    ...output.matchAll(
      /^(?:ok|FAILED) \| (\d+) passed(?: \([^)]*\))? \| (\d+) failed(?: \([^)]*\))?(?: \| (\d+) ignored)?/gm,
    ),
  ].at(-1);
  if (!closing) return null;
  return {
    passed: Number(closing[1]),
    failed: Number(closing[2]),
    ignored: Number(closing[3] ?? 0),
  };
}
