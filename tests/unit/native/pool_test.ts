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

Deno.test("a thread that comes late to a job works on none that it was not announced for", () => {
  const harness = openSimdHarness(instructionSetFlags().native);
  try {
    // More threads than cores, so that many are held up between waking and claiming.
    const threads = 4 * navigator.hardwareConcurrency, jobs = 1000;
    const few = new Int32Array(4), many = new Int32Array(38);
    const status = harness.symbols.harness_pool_alternating(threads, few, 3, many, 37, jobs);
    assertEquals(status, 0);
    assertEquals([...few], [jobs, jobs, jobs, 0]);
    assertEquals([...many], [...new Array(37).fill(jobs), 0]);
  } finally {
    harness.close();
  }
});
