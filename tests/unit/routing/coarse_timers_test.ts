import { assert, assertEquals } from "@std/assert";
import { CoarseTimers } from "../../../src/routing/coarse_timers.ts";

Deno.test("coarse timers pass in time, never early, and not when they were cleared", async () => {
  using timers = new CoarseTimers(1);
  const passed: string[] = [];
  const start = performance.now();
  const wait = Promise.withResolvers<number>();
  timers.set(() => passed.push("cleared"), 1).clear();
  timers.set(() => passed.push("soon"), 2);
  timers.set(() => wait.resolve(performance.now() - start), 10);
  assert(await wait.promise >= 10);
  assertEquals(passed, ["soon"]);
});

Deno.test("nothing passes after the end", async () => {
  const timers = new CoarseTimers(1);
  let passed = false;
  timers.set(() => passed = true, 1);
  timers[Symbol.dispose]();
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert(!passed);
});
