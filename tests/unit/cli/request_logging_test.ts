import { assertEquals, assertMatch } from "@std/assert";
import { createLogger } from "../../../src/cli/log.ts";
import { requestLogging } from "../../../src/cli/request_logging.ts";

const record = {
  requestId: "r-1",
  method: "POST",
  path: "/v1/completions",
  status: 200,
  seconds: 1 / 3,
};

Deno.test("errors are logged with their request, answers only where that is asked for", () => {
  const lines: string[] = [];
  const log = createLogger((line) => lines.push(line));
  const quiet = requestLogging({ "enable-log-requests": false }, log);
  quiet.onError(new Error("broken"), "r-1");
  quiet.onError("odd");
  assertEquals(quiet.onRequest, undefined);
  requestLogging({ "enable-log-requests": true }, log).onRequest!(record);
  assertMatch(lines[0], /ERROR Error: broken at .* request_id=r-1$/);
  assertMatch(lines[1], /ERROR odd$/);
  assertMatch(
    lines[2],
    /INFO {2}answered request_id=r-1 method=POST path=\/v1\/completions status=200 seconds=0.3333$/,
  );
});
