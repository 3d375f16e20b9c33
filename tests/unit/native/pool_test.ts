import { assert, assertEquals } from "@std/assert";
import { instructionSetFlags, openSimdHarness } from "./_simd_harness.ts";

Deno.test("the pool hands out every item once, for any number of threads, items and grain", () => {
  const harness = openSimdHarness(instructionSetFlags().native);
  try {
    for (const threads of [1, 2, 3, 5]) {
      for (const count of [0, 1, 7, 1000]) {
        for (const grain of [1, 3, 64]) {
          const counts = new Int32Array(count + 1);
          const jobs = 50;
          assertEquals(
            harness.symbols.harness_pool(threads, counts, count, grain, jobs),
            threads,
          );
          assert(counts.subarray(0, count).every((times) => times === jobs), `${counts}`);
          assertEquals(counts[count], 0);
        }
      }
    }
  } finally {
    harness.close();
  }
});

Deno.test("the pool's threads end with it", () => {
  const harness = openSimdHarness(instructionSetFlags().native);
  try {
    const threads = () => [...Deno.readDirSync("/proc/self/task")].length;
    harness.symbols.harness_pool(4, new Int32Array(8), 8, 1, 1);
    const before = threads();
    for (let i = 0; i < 20; i++) harness.symbols.harness_pool(4, new Int32Array(8), 8, 1, 1);
    assert(threads() <= before + 2, `${threads()} threads, ${before} before`);
  } finally {
    harness.close();
  }
});
