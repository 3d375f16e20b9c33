import fc from "fast-check";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ApiError } from "../../../src/serving/api_error.ts";
import { KeyLimits } from "../../../src/serving/key_limits.ts";

/** Tries to enter: a place, or the code and the seconds to wait. */
function attempt(limits: KeyLimits, key: number): Disposable | [string | null, number] {
  try {
    return limits.enter(key);
  } catch (error) {
    assert(error instanceof ApiError && error.status === 429);
    return [error.code, Number(error.headers["retry-after"])];
  }
}

Deno.test("each key has so many requests inside at most, and gets places back once", () => {
  const limits = new KeyLimits({ maxConcurrency: 2 });
  const [first, second] = [limits.enter(0), limits.enter(0)];
  assertEquals(attempt(limits, 0), ["concurrency_limit_exceeded", 1]);
  limits.enter(1);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  limits.enter(0);
  assertEquals(attempt(limits, 0), ["concurrency_limit_exceeded", 1]);
  second[Symbol.dispose]();
  limits.enter(0);
});

Deno.test("in any minute a key is let in so often, and told when it is again", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 40_000 })), {
        maxLength: 60,
      }),
      (requestsPerMinute, arrivals) => {
        let now = 1000;
        const limits = new KeyLimits({ requestsPerMinute }, () => now);
        const let_in: number[][] = [[], []];
        for (const [key, pause] of arrivals) {
          now += pause;
          const recent = let_in[key].filter((time) => time > now - 60_000);
          const result = attempt(limits, key);
          if (recent.length < requestsPerMinute) {
            assert(!Array.isArray(result));
            let_in[key].push(now);
          } else {
            const free = recent[recent.length - requestsPerMinute] + 60_000;
            assertEquals(result, ["rate_limit_exceeded", Math.ceil((free - now) / 1000)]);
          }
        }
      },
    ),
    { numRuns: 200, seed: 3 },
  );
});

Deno.test("without limits everybody enters; limits that are no counts are refused", () => {
  const limits = new KeyLimits();
  for (let i = 0; i < 1000; i++) limits.enter(0);
  for (const wrong of [0, -1, 1.5, NaN, Infinity]) {
    assertThrows(() => new KeyLimits({ maxConcurrency: wrong }), RangeError);
    assertThrows(() => new KeyLimits({ requestsPerMinute: wrong }), RangeError);
  }
  assertThrows(() => new KeyLimits({ requestsPerMinute: 1_000_001 }), RangeError);
});
