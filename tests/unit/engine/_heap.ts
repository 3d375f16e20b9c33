/**
 * How much of JavaScript's heap something takes. Needs `--v8-flags=--expose-gc,--min-semi-space-size=64`, so that
 * nothing is collected in between.
 * @module
 */

/** Bytes of this thread's heap that are in use. */
export function heapUsed(): number {
  return Deno.memoryUsage().heapUsed;
}

/** Bytes that {@linkcode heapUsed} itself adds to what it gives next. */
export function bytesOfMeasurement(): number {
  const differences = Array.from({ length: 8 }, () => {
    const before = heapUsed();
    return heapUsed() - before;
  });
  return Math.min(...differences);
}

/** Frees what nobody refers to. */
export function collect(): void {
  (globalThis as unknown as { readonly gc: () => void }).gc();
}
