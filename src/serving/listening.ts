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
