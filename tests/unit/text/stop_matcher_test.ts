import { assertEquals, assertThrows } from "@std/assert";
import { checkStopStrings, StopMatcher } from "../../../src/text/stop_matcher.ts";
import { TextError } from "../../../src/text/text_error.ts";

Deno.test("without stop strings text passes at once", () => {
  assertEquals(new StopMatcher([]).push("abc"), { text: "abc", stop: null });
});

Deno.test("the match that ends first wins, the longest among those", () => {
  assertEquals(new StopMatcher(["abcd", "bc"]).push("xabcd"), { text: "xa", stop: "bc" });
  assertEquals(new StopMatcher(["c", "abc"]).push("xabcd"), { text: "x", stop: "abc" });
});

Deno.test("a stop string that overlaps itself is found at its first place", () => {
  const matcher = new StopMatcher(["aab"]);
  assertEquals(matcher.push("aaa"), { text: "a", stop: null });
  assertEquals(matcher.push("b"), { text: "", stop: "aab" });
});

Deno.test("a beginning that comes to nothing is let go", () => {
  const matcher = new StopMatcher(["</s>"]);
  assertEquals(matcher.push("a </"), { text: "a ", stop: null });
  assertEquals(matcher.push("b> <"), { text: "</b> ", stop: null });
  assertEquals(matcher.flush(), "<");
});

Deno.test("a stop string that ends too early is passed over, one that begins there is found", () => {
  const matcher = new StopMatcher(["ab", "bcb"]);
  assertEquals(matcher.push("xab", { mayStop: false }), { text: "x", stop: null });
  assertEquals(matcher.push("cb"), { text: "a", stop: "bcb" });
  const other = new StopMatcher(["ab"]);
  assertEquals(other.push("ab", { mayStop: false }).stop, null);
  assertEquals(other.push("ab"), { text: "ab", stop: "ab" });
});

Deno.test("stop strings that cannot be searched for are refused", () => {
  assertThrows(() => checkStopStrings(["ok", ""]), TextError, "empty");
  assertThrows(() => checkStopStrings(["\ud83d"]), TextError, "valid Unicode");
});
