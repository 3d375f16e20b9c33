import { assertEquals, assertMatch } from "@std/assert";
import { createLogger } from "../../../src/cli/log.ts";

Deno.test("each event is one line with its level", () => {
  const lines: string[] = [];
  const log = createLogger((line) => lines.push(line));
  log.info("ready");
  log.error("first\n  second\r\nthird");
  assertEquals(lines.length, 2);
  assertMatch(lines[0], /^\d\d:\d\d:\d\d INFO {2}ready$/);
  assertMatch(lines[1], /^\d\d:\d\d:\d\d ERROR first second third$/);
});
