/**
 * Waiting for a while.
 * @module
 */

/** The longest time that a timer takes, in milliseconds: they have 31 bits, and fire at once beyond. */
export const LONGEST_TIMER_MS: number = 2 ** 31 - 1;

/** Whether `work` has ended within `milliseconds`; rejects when it does. */
export async function within(work: Promise<unknown>, milliseconds: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), Math.min(milliseconds, LONGEST_TIMER_MS));
  try {
    return await Promise.race([work.then(() => true), promise]);
  } finally {
    clearTimeout(timer);
  }
}
