/** What one call of a measured function moves and computes. */
export interface Work {
  /** Bytes that it must read or write. */
  readonly bytes: number;
  /** Floating-point operations (a multiply-add counts two). */
  readonly flops: number;
}

/** Time to spend on one measurement, in milliseconds, and the fewest calls to take the median of. */
const BUDGET = 250;
const MIN_CALLS = 3;

/**
 * Calls `run` repeatedly and prints the median time with GB/s and GFLOP/s; with `limits`, what the
 * machine does in a second at most, also the share of the limit that it comes closest to.
 */
export function measure(name: string, work: Work, run: () => void, limits?: Work): void {
  run();
  const times: number[] = [];
  const begin = performance.now();
  while (times.length < MIN_CALLS || performance.now() - begin < BUDGET) {
    const start = performance.now();
    run();
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  const milliseconds = times[times.length >> 1];
  const seconds = milliseconds / 1e3;
  const share = limits &&
    Math.max(work.bytes / limits.bytes, work.flops / limits.flops) / seconds * 100;
  const rate = (amount: number) => (amount / milliseconds / 1e6).toFixed(1).padStart(7);
  console.log(
    `${name.padEnd(46)} ${(milliseconds * 1e3).toFixed(1).padStart(10)} us ` +
      `${rate(work.bytes)} GB/s ${rate(work.flops)} GFLOP/s` +
      (share === undefined ? "" : ` ${share.toFixed(0).padStart(4)} % of the limit`),
  );
}
