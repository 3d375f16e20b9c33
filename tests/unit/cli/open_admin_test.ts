import { assertEquals } from "@std/assert";
import { createLogger } from "../../../src/cli/log.ts";
import { warnOfOpenAdmin } from "../../../src/cli/open_admin.ts";

Deno.test("admin routes that a network reaches without a key are warned of", () => {
  const warns = (host: string, api?: string, admin?: string): boolean => {
    const lines: string[] = [];
    const values = { host, "api-key": api, "admin-api-key": admin };
    warnOfOpenAdmin(values, createLogger((line) => lines.push(line)));
    return lines.some((line) => line.includes(`reaches ${host}: --admin-api-key`));
  };
  const inside = ["127.0.0.1", "127.1.2.3", "::1", "localhost"];
  const outside = ["0.0.0.0", "::", "10.0.0.7", "localhost.example"];
  assertEquals(inside.map((host) => warns(host)), [false, false, false, false]);
  assertEquals(outside.map((host) => warns(host)), [true, true, true, true]);
  assertEquals(outside.map((host) => warns(host, "key")), [false, false, false, false]);
  assertEquals(outside.map((host) => warns(host, undefined, "key")), [false, false, false, false]);
});
