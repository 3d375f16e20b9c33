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

/** Calls `run` repeatedly and prints the median time with GB/s and GFLOP/s. */
export function measure(name: string, work: Work, run: () => void): void {
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
  const rate = (amount: number) => (amount / milliseconds / 1e6).toFixed(1).padStart(7);
  console.log(
    `${name.padEnd(46)} ${(milliseconds * 1e3).toFixed(1).padStart(10)} us ` +
      `${rate(work.bytes)} GB/s ${rate(work.flops)} GFLOP/s`,
  );
}
