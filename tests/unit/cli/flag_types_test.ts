import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  choice,
  integer,
  integers,
  number,
  onOff,
  parseSize,
  unsigned64,
} from "../../../src/cli/flag_types.ts";

Deno.test("parseSize reads decimal and binary units in any case", () => {
  assertEquals(parseSize("4GiB"), 4 * 2 ** 30);
  assertEquals(parseSize("512MB"), 512e6);
  assertEquals(parseSize("1.5kib"), 1536);
  assertEquals(parseSize("4096"), 4096);
  assertEquals(parseSize(" 2 TiB "), 2 * 2 ** 40);
});

Deno.test("parseSize refuses what is no size", () => {
  for (
    const text of ["", "GiB", "-1GB", "4 elephants", "0", "1e400", "9999999TiB", "0.1b", "NaN"]
  ) {
    assertThrows(() => parseSize(text), RangeError);
  }
});

Deno.test("parseSize is exact for every whole number of bytes", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (bytes) => {
    assertEquals(parseSize(String(bytes)), bytes);
  }));
});

Deno.test("integer takes its bounds and nothing beyond them", () => {
  const flag = integer({ min: -1, max: 10, help: "" });
  assertEquals([flag.parse("-1"), flag.parse("10")], [-1, 10]);
  for (const text of ["-2", "11", "1.5", "0x3", "ten", "1 "]) {
    assertThrows(() => flag.parse(text), RangeError);
  }
});

Deno.test("integers takes a list, each within the bounds", () => {
  const flag = integers({ min: 1, max: 9, help: "" });
  assertEquals([flag.parse("3"), flag.parse("2, 9")], [[3], [2, 9]]);
  for (const text of ["", "1,", "0,1", "1 2", "1,10"]) {
    assertThrows(() => flag.parse(text), RangeError);
  }
});

Deno.test("number takes decimals and exponents but not infinity or hex", () => {
  const flag = number({ min: 0, max: 100, help: "" });
  assertEquals([flag.parse("0.5"), flag.parse("1e1"), flag.parse(".25")], [0.5, 10, 0.25]);
  for (const text of ["Infinity", "NaN", "0x10", "1e3", "-0.1", "."]) {
    assertThrows(() => flag.parse(text), RangeError);
  }
});

Deno.test("unsigned64 keeps all 64 bits", () => {
  const flag = unsigned64({ help: "" });
  assertEquals(flag.parse("18446744073709551615"), 2n ** 64n - 1n);
  assertThrows(() => flag.parse("18446744073709551616"), RangeError, "2^64");
  assertThrows(() => flag.parse("-1"), RangeError);
});

Deno.test("choice maps every spelling to its meaning", () => {
  const flag = choice({ values: { f16: "f16", half: "f16" }, fallback: "f16", help: "" });
  assertEquals(flag.parse("half"), "f16");
  assertThrows(() => flag.parse("toString"), RangeError, "f16, half");
});

Deno.test("onOff reads the words that an environment variable may hold", () => {
  const flag = onOff({ help: "" });
  assertEquals([flag.parse("true"), flag.parse("0")], [true, false]);
  assertThrows(() => flag.parse("yes"), RangeError);
  assertEquals([flag.fallback, flag.shownDefault], [false, ""]);
  const on = onOff({ help: "", fallback: true });
  assertEquals([on.fallback, on.shownDefault], [true, "on"]);
});
