import { assertEquals } from "@std/assert";
import { readTestCounts } from "../../../tools/test_counts.ts";

Deno.test("readTestCounts reads the closing line in each of its forms", () => {
  assertEquals(readTestCounts("x ... ok (1ms)\n\nok | 12 passed | 0 failed (9ms)\n"), {
    passed: 12,
    failed: 0,
    ignored: 0,
  });
  assertEquals(
    readTestCounts("FAILED | 3 passed (8 steps) | 2 failed (1 step) | 4 ignored (2s)"),
    { passed: 3, failed: 2, ignored: 4 },
  );
});

Deno.test("readTestCounts believes the last closing line and no line that only looks like one", () => {
  const output = "test prints: ok | 99 passed | 0 failed\nok | 1 passed | 0 failed (1ms)\n";
  assertEquals(readTestCounts(output)?.passed, 1);
  assertEquals(readTestCounts("running 0 tests"), null);
});
