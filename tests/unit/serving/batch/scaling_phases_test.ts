import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { planScaling, scalingEfficiency } from "../../../../src/serving/batch/scaling_phases.ts";

Deno.test("a plan gives each replica the same work, and takes no more than there is", () => {
  fc.assert(fc.property(
    fc.record({
      replicas: fc.integer({ min: 2, max: 64 }),
      concurrency: fc.integer({ min: 1, max: 256 }),
      spare: fc.nat(10_000),
    }),
    ({ replicas, concurrency, spare }) => {
      const requests = 2 * replicas + 1 + spare;
      const { warmUp, alone, together } = planScaling(requests, { replicas, concurrency });
      assertEquals([warmUp, together], [replicas, replicas * alone]);
      assert(alone >= 1 && alone <= 8 * concurrency);
      assert(warmUp + alone + together <= requests);
    },
  ));
});

Deno.test("one replica, and too few requests, can't be measured", () => {
  const plan = (requests: number, replicas: number) => () =>
    planScaling(requests, { replicas, concurrency: 8 });
  assertThrows(plan(100, 1), RangeError, "there is one replica only");
  assertThrows(plan(4, 2), RangeError, "too few requests: 4, and 5 are the least");
  assertEquals(plan(5, 2)(), { warmUp: 2, alone: 1, together: 2 });
});

Deno.test("efficiency is the throughput of all over that of as many as one alone", () => {
  const alone = { tokens: 1000, seconds: 10 };
  assertAlmostEquals(scalingEfficiency({ alone, together: { tokens: 2000, seconds: 10 } }, 2), 1);
  assertAlmostEquals(scalingEfficiency({ alone, together: { tokens: 3000, seconds: 20 } }, 3), 0.5);
});
