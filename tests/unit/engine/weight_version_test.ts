import { assertEquals, assertThrows } from "@std/assert";
import { weightVersion } from "../../../src/engine/weight_version.ts";

Deno.test("weights have the name that they were given, or the beginning of their fingerprint", () => {
  const fingerprint = "0123456789abcdef".repeat(4);
  assertEquals(weightVersion(undefined, fingerprint), "0123456789ab");
  for (const name of ["v2", "2026-11-21/step=500", "~".repeat(128)]) {
    assertEquals(weightVersion(name, fingerprint), name);
  }
  for (const name of ["", "two words", "naïve", "line\nbreak", "~".repeat(129)]) {
    assertThrows(() => weightVersion(name, fingerprint), RangeError, "Cannot name the weights");
  }
});
