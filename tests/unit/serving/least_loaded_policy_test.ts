import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { LeastLoadedPolicy } from "../../../src/serving/least_loaded_policy.ts";

Deno.test("the least loaded replica is chosen, the lowest index among equals", () => {
  const policy = new LeastLoadedPolicy();
  fc.assert(
    fc.property(fc.array(fc.nat(5), { minLength: 1, maxLength: 8 }), (loads) => {
      const candidates = loads.map((active, at) => ({ index: 2 * at, active }));
      const expected = 2 * loads.indexOf(Math.min(...loads));
      assertEquals(policy.select(candidates).index, expected);
    }),
    { seed: 1 },
  );
});
