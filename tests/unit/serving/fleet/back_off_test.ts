import { assertEquals } from "@std/assert";
import { BackOff } from "../../../../src/serving/fleet/back_off.ts";

Deno.test("waits double up to a limit, and begin anew after what has worked for long", () => {
  const backOff = new BackOff({ firstMs: 100, maxMs: 500, resetAfterMs: 1000, random: () => 1 });
  assertEquals([0, 0, 999, 0, 0].map((worked) => backOff.next(worked)), [100, 200, 400, 500, 500]);
  assertEquals([1000, 0].map((worked) => backOff.next(worked)), [100, 200]);
});

Deno.test("half of a wait is random", () => {
  const waits = [0, 0.5, 1].map((random) =>
    new BackOff({ firstMs: 100, random: () => random }).next(0)
  );
  assertEquals(waits, [50, 75, 100]);
});
