/**
 * Checks of single parameters.
 * @module
 */
import { UnsupportedRequestError } from "./types.ts";

/** The error for a value that is not what is wanted; `param` names the parameter. */
export function refused(param: string, wanted: string, value: unknown): UnsupportedRequestError {
  return new UnsupportedRequestError(
    `Cannot sample as ${param} must be ${wanted}: current value is ${shown(value)}`,
    param,
  );
}

/** A value in few characters. */
export function shown(value: unknown): string {
  if (typeof value === "object" && value !== null) {
    return Array.isArray(value) ? "a list" : "an object";
  }
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/** What a number may be. */
export interface Range {
  /** In words. */
  readonly wanted: string;
  /** Whether it is. */
  readonly accepts: (value: number) => boolean;
}

/** The value as a number in a range; throws UnsupportedRequestError. */
export function number(value: unknown, param: string, range: Range): number {
  if (typeof value !== "number" || !range.accepts(value)) throw refused(param, range.wanted, value);
  return value;
}

/** The value as an integer in a range; throws UnsupportedRequestError. */
export function integer(value: unknown, param: string, range: Range): number {
  if (!Number.isSafeInteger(value)) throw refused(param, range.wanted, value);
  return number(value, param, range);
}

/** The value as true or false; throws UnsupportedRequestError. */
export function boolean(value: unknown, param: string): boolean {
  if (typeof value !== "boolean") throw refused(param, "true or false", value);
  return value;
}
