import { assertEquals, assertMatch } from "@std/assert";
import { createLogger, parseLogLine } from "../../../src/cli/log.ts";

Deno.test("each event is one line with its level", () => {
  const lines: string[] = [];
  const log = createLogger((line) => lines.push(line));
  log.info("ready");
  log.error("first\n  second\r\nthird");
  assertEquals(lines.length, 2);
  assertMatch(lines[0], /^\d\d:\d\d:\d\d INFO {2}ready$/);
  assertMatch(lines[1], /^\d\d:\d\d:\d\d ERROR first second third$/);
});

Deno.test("fields follow the message, or are those of an object", () => {
  const lines: string[] = [];
  const fields = { request_id: "r-1", status: 200 };
  createLogger((line) => lines.push(line)).info("GET /health", fields);
  createLogger((line) => lines.push(line), "json").warn("two\nlines", fields);
  assertMatch(lines[0], /^\d\d:\d\d:\d\d INFO {2}GET \/health request_id=r-1 status=200$/);
  const { time, ...rest } = JSON.parse(lines[1]);
  assertMatch(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assertEquals(rest, { level: "warn", message: "two\nlines", ...fields });
  assertEquals(lines[1].includes("\n"), false);
});

Deno.test("lines of a log are read back, others are not", () => {
  const fields = { request_id: "r-1" };
  for (const format of ["text", "json"] as const) {
    const lines: string[] = [];
    createLogger((line) => lines.push(line), format).error("it failed", fields);
    assertEquals(
      parseLogLine(lines[0]),
      format === "json"
        ? { level: "error", message: "it failed", fields }
        : { level: "error", message: "it failed request_id=r-1", fields: {} },
    );
  }
  for (const line of ["# Fatal error", "{", "{}", '{"level":"info"}', "[]"]) {
    assertEquals(parseLogLine(line), null, line);
  }
});
