/**
 * From the values of flags back to a command line.
 * @module
 */

/** `--name=value` for each value that was given or has a default, in the order of the table. */
export function writeFlags(values: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `--${name}=${Array.isArray(value) ? value.join(",") : String(value)}`);
}
