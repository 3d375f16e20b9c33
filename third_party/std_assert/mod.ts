/**
 * Stand-in for `jsr:@std/assert@1`, linked by `deno.json` so that tests run where JSR cannot be
 * reached: the functions that weft's tests use, with the same signatures, over `node:assert`.
 * @module
 */
import { AssertionError as NodeAssertionError } from "node:assert";
import { inspect, isDeepStrictEqual } from "node:util";

// deno-lint-ignore no-explicit-any
type AnyConstructor<T = any> = abstract new (...args: any[]) => T;

/** Error thrown when an assertion fails. */
export class AssertionError extends NodeAssertionError {
  /** Takes the message that says what failed. */
  constructor(message: string) {
    super({ message });
    this.name = "AssertionError";
  }
}

function fail(message: string, msg?: string): never {
  throw new AssertionError(msg ? `${message}: ${msg}` : message);
}

function show(value: unknown): string {
  return inspect(value, {
    depth: 8,
    sorted: true,
    maxArrayLength: 200,
    breakLength: 100,
  });
}

/** Asserts that `expr` is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError(msg);
}

/** Asserts that two values are deeply equal. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (isDeepStrictEqual(actual, expected)) return;
  fail(
    `Values are not equal\n  actual:   ${show(actual)}\n  expected: ${
      show(expected)
    }\n`,
    msg,
  );
}

/** Asserts that two values are not deeply equal. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!isDeepStrictEqual(actual, expected)) return;
  fail(`Expected actual: ${show(actual)} not to be: ${show(expected)}`, msg);
}

/** Asserts that two values are the same by `Object.is`. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  if (Object.is(actual, expected)) return;
  fail(
    `Values are not strictly equal: ${show(actual)} and ${show(expected)}`,
    msg,
  );
}

/** Asserts that two values are not the same by `Object.is`. */
export function assertNotStrictEquals<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  if (Object.is(actual, expected)) {
    fail(`Expected not to be strictly: ${show(actual)}`, msg);
  }
}

/** Asserts that `expr` is falsy. */
export function assertFalse(expr: unknown, msg = ""): void {
  if (expr) throw new AssertionError(msg);
}

/** Asserts that a value is neither null nor undefined. */
export function assertExists<T>(
  actual: T,
  msg?: string,
): asserts actual is NonNullable<T> {
  if (actual === undefined || actual === null) {
    fail(`Expected actual: "${actual}" to not be null or undefined`, msg);
  }
}

/** Asserts that two numbers differ by at most `tolerance` (1e-7 relative when left out). */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  msg?: string,
): void {
  if (Object.is(actual, expected)) return;
  const allowed = tolerance ??
    (Number.isFinite(expected) ? Math.abs(expected * 1e-7) : 1e-7);
  const difference = Math.abs(expected - actual);
  if (difference <= allowed) return;
  fail(
    `Expected actual: "${actual}" to be close to "${expected}": delta "${difference}" is greater than "${allowed}"`,
    msg,
  );
}

/** Asserts that `actual` contains `expected`. */
export function assertStringIncludes(
  actual: string,
  expected: string,
  msg?: string,
): void {
  if (!actual.includes(expected)) {
    fail(`Expected actual: "${actual}" to contain: "${expected}"`, msg);
  }
}

/** Asserts that `actual` matches the pattern. */
export function assertMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  if (!expected.test(actual)) {
    fail(`Expected actual: "${actual}" to match: "${expected}"`, msg);
  }
}

/** Asserts that `actual` does not match the pattern. */
export function assertNotMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  if (expected.test(actual)) {
    fail(`Expected actual: "${actual}" to not match: "${expected}"`, msg);
  }
}

/** Asserts that `actual` contains all `expected` values, deeply equal, in any place. */
export function assertArrayIncludes<T>(
  actual: ArrayLike<T>,
  expected: ArrayLike<T>,
  msg?: string,
): void {
  const missing = Array.from(expected).filter((wanted) =>
    !Array.from(actual).some((value) => isDeepStrictEqual(value, wanted))
  );
  if (missing.length > 0) {
    fail(
      `Expected actual: ${show(actual)} to include: ${
        show(expected)
      }; missing ${show(missing)}`,
      msg,
    );
  }
}

/** Asserts that `actual` has every property of `expected`, recursively. */
export function assertObjectMatch(
  // deno-lint-ignore no-explicit-any
  actual: Record<PropertyKey, any>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
): void {
  if (matches(actual, expected)) return;
  fail(`Expected actual: ${show(actual)} to match: ${show(expected)}`, msg);
}

function matches(actual: unknown, expected: unknown): boolean {
  if (Array.isArray(expected)) {
    return Array.isArray(actual) && actual.length === expected.length &&
      expected.every((value, index) => matches(actual[index], value));
  }
  if (
    expected === null ||
    Object.getPrototypeOf(Object(expected)) !== Object.prototype
  ) {
    return isDeepStrictEqual(actual, expected);
  }
  return typeof actual === "object" && actual !== null &&
    Object.entries(expected as object).every(([key, value]) =>
      key in actual && matches((actual as Record<string, unknown>)[key], value)
    );
}

/** Asserts that `actual` is an instance of `expectedType`. */
export function assertInstanceOf<T extends AnyConstructor>(
  actual: unknown,
  expectedType: T,
  msg = "",
): asserts actual is InstanceType<T> {
  if (actual instanceof expectedType) return;
  fail(
    `Expected object to be an instance of "${expectedType.name}" but was ${
      show(actual)
    }`,
    msg,
  );
}

/** Asserts that `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual > expected)) {
    fail(`Expect ${show(actual)} > ${show(expected)}`, msg);
  }
}

/** Asserts that `actual >= expected`. */
export function assertGreaterOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  if (!(actual >= expected)) {
    fail(`Expect ${show(actual)} >= ${show(expected)}`, msg);
  }
}

/** Asserts that `actual < expected`. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual < expected)) {
    fail(`Expect ${show(actual)} < ${show(expected)}`, msg);
  }
}

/** Asserts that `actual <= expected`. */
export function assertLessOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  if (!(actual <= expected)) {
    fail(`Expect ${show(actual)} <= ${show(expected)}`, msg);
  }
}

/** Asserts that `error` is an error of the class, and that its message includes a text. */
export function assertIsError<E extends Error = Error>(
  error: unknown,
  ErrorClass?: AnyConstructor<E>,
  msgMatches?: string | RegExp,
  msg?: string,
): asserts error is E {
  if (!(error instanceof Error)) {
    fail(`Expected "error" to be an Error object: ${show(error)}`, msg);
  }
  if (ErrorClass && !(error instanceof ErrorClass)) {
    fail(
      `Expected error to be instance of "${ErrorClass.name}": ${show(error)}`,
      msg,
    );
  }
  const found = msgMatches === undefined ||
    (typeof msgMatches === "string"
      ? error.message.includes(msgMatches)
      : msgMatches.test(error.message));
  if (!found) {
    fail(
      `Expected error message to include ${show(msgMatches)}, but got ${
        show(error.message)
      }`,
      msg,
    );
  }
}

/** Asserts that `fn` throws; returns what it threw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Asserts that `fn` throws an error of the class whose message includes a text; returns it. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: AnyConstructor<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows(
  fn: () => unknown,
  errorClassOrMsg?: AnyConstructor<Error> | string,
  msgIncludes?: string,
  msg?: string,
): unknown {
  try {
    fn();
  } catch (error) {
    return caught(error, errorClassOrMsg, msgIncludes, msg);
  }
  fail(
    "Expected function to throw",
    typeof errorClassOrMsg === "string" ? errorClassOrMsg : msg,
  );
}

/** Asserts that `fn` returns a promise that rejects; resolves with the reason. */
export function assertRejects(
  fn: () => PromiseLike<unknown>,
  msg?: string,
): Promise<unknown>;
/** Asserts that `fn` rejects with an error of the class whose message includes a text. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: AnyConstructor<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects(
  fn: () => PromiseLike<unknown>,
  errorClassOrMsg?: AnyConstructor<Error> | string,
  msgIncludes?: string,
  msg?: string,
): Promise<unknown> {
  let promise: unknown;
  try {
    promise = fn();
  } catch (error) {
    fail(`Function throws when expected to reject: ${show(error)}`, msg);
  }
  if (
    typeof (promise as PromiseLike<unknown> | undefined)?.then !== "function"
  ) {
    fail("Expected function to return a promise", msg);
  }
  try {
    await promise;
  } catch (error) {
    return caught(error, errorClassOrMsg, msgIncludes, msg);
  }
  fail(
    "Expected function to reject",
    typeof errorClassOrMsg === "string" ? errorClassOrMsg : msg,
  );
}

function caught(
  error: unknown,
  errorClassOrMsg?: AnyConstructor<Error> | string,
  msgIncludes?: string,
  msg?: string,
): unknown {
  if (typeof errorClassOrMsg === "function") {
    assertIsError(error, errorClassOrMsg, msgIncludes, msg);
  }
  return error;
}
