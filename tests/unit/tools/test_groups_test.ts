import { assertEquals } from "@std/assert";
import { FileOutputStream, groupTests } from "../../../tools/test_groups.ts";

Deno.test("groupTests puts every test into the group of its folder, and nothing else into any", () => {
  const groups = groupTests([
    "tests/a_test.ts",
    "tests/http/b_test.ts",
    "tests/unit/deep/down/c_test.ts",
    "tests/unit/_helper.ts",
    "tests/golden/d.test.js",
    "tests/golden/contest.ts",
    "tests/unit/a_test.ts",
  ]);
  assertEquals(groups, [
    { name: "tests/golden", paths: ["tests/golden/d.test.js"] },
    { name: "tests/unit", paths: ["tests/unit/a_test.ts", "tests/unit/deep/down/c_test.ts"] },
    { name: "tests", paths: ["tests/a_test.ts"] },
    { name: "tests/http", paths: ["tests/http/b_test.ts"] },
  ]);
});

Deno.test("FileOutputStream holds output back until the file's tests have run", async () => {
  const chunks = [
    "Check\nrun",
    "ning 1 test from a\nx ...",
    " ok\nrunning 2 tests from b\n",
    "y\n",
  ];
  const pieces = await Array.fromAsync(
    ReadableStream.from(chunks).pipeThrough(new FileOutputStream()),
  );
  assertEquals(pieces, [
    "Check\n",
    "running 1 test from a\nx ... ok\n",
    "running 2 tests from b\ny\n",
  ]);
});
