/**
 * Amounts of memory, for people.
 * @module
 */

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

/** `bytes` in the largest decimal unit that leaves a number above 1, with one digit after the point. */
export function formatBytes(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (Math.abs(value) >= 1000 && unit + 1 < UNITS.length) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}
