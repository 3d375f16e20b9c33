/**
 * What listeners have in common.
 * @module
 */

/** Time for the last answers to leave, and for clients to take them, in milliseconds. */
export const CLOSE_TIMEOUT_MS = 1000;

/** Address for clients, such as `http://127.0.0.1:8000`. */
export function urlOf(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Whether `work` has ended within `milliseconds`. */
export async function within(work: Promise<unknown>, milliseconds: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  // Timers take 31 bits and fire at once beyond.
  const timer = setTimeout(() => resolve(false), Math.min(milliseconds, 2 ** 31 - 1));
  try {
    return await Promise.race([work.then(() => true), promise]);
  } finally {
    clearTimeout(timer);
  }
}
