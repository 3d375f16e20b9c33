import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fromOrderedKey, orderedKey } from "../../../src/tensor/ordered_key.ts";

Deno.test("orderedKey sorts as the numbers do, and back", () => {
  fc.assert(fc.property(
    fc.float({ noNaN: true }),
    fc.float({ noNaN: true }),
    (a, b) => {
      if (a < b) assert(orderedKey(a) < orderedKey(b));
      if (a > b) assert(orderedKey(a) > orderedKey(b));
      assert(Object.is(fromOrderedKey(orderedKey(a)), a));
    },
  ));
});

Deno.test("orderedKey of the ends and of zero", () => {
  assertEquals(orderedKey(0), 0x80000000);
  assertEquals(orderedKey(-0), 0x7fffffff);
  assertEquals(orderedKey(Infinity), 0xff800000);
  assertEquals(orderedKey(-Infinity), 0x007fffff);
  assertEquals(fromOrderedKey(0xbf800000), 1);
});
