import type { Device } from "../../src/tensor/device.ts";

/** Time to spend on one measurement, in seconds, and the fewest replays. */
const BUDGET = 0.15;
const MIN_REPLAYS = 3;

/** Seconds that `run` takes when it is called again and again; it queues work or does it. */
export function secondsOf(device: Pick<Device, "synchronize">, run: () => void): number {
  run();
  device.synchronize();
  const timed = (count: number) => {
    const start = performance.now();
    for (let i = 0; i < count; i++) run();
    device.synchronize();
    return (performance.now() - start) / 1000;
  };
  const once = timed(1);
  const count = Math.max(MIN_REPLAYS, Math.ceil(BUDGET / Math.max(once, 1e-6)));
  return timed(count) / count;
}

/**
 * Seconds of one of `calls` on the device: they are recorded together, so that the host costs nothing,
 * as in a decode step. Give them operands of their own, more than the cache holds, when memory counts.
 */
export function secondsOfRecorded(device: Device, calls: readonly (() => void)[]): number {
  // What runs first may allocate, which a recording can't.
  for (const call of calls) call();
  device.synchronize();
  using recording = device.record(() => {
    for (const call of calls) call();
  });
  return secondsOf(device, () => recording.replay()) / calls.length;
}
