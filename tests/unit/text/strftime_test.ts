import { assertEquals, assertThrows } from "@std/assert";
import { strftime } from "../../../src/text/strftime.ts";
import { TextError } from "../../../src/text/text_error.ts";

Deno.test("dates are written with English names, whatever the machine's language", () => {
  const afternoon = new Date(2024, 6, 4, 15, 5, 9);
  assertEquals(strftime(afternoon, "%d %b %Y"), "04 Jul 2024");
  assertEquals(strftime(afternoon, "%A %a %B %y-%m"), "Thursday Thu July 24-07");
  assertEquals(strftime(afternoon, "%H:%M:%S %I %p 100%%"), "15:05:09 03 PM 100%");
  assertEquals(strftime(new Date(2024, 0, 1, 0, 0), "%I %p"), "12 AM");
});

Deno.test("an unknown directive is refused", () => {
  assertThrows(() => strftime(new Date(), "%Q"), TextError, "%Q");
});
