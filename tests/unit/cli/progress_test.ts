import { assertEquals, assertStringIncludes } from "@std/assert";
import { createProgress } from "../../../src/cli/progress.ts";

function show(terminal: boolean, fractions: readonly number[]): string {
  let written = "";
  const progress = createProgress({
    label: "Loading",
    terminal,
    write: (text) => written += text,
  });
  for (const fraction of fractions) progress(fraction);
  return written;
}

Deno.test("off a terminal progress is a few plain lines", () => {
  const thousandSteps = Array.from({ length: 1001 }, (_, step) => step / 1000);
  assertEquals(
    show(false, thousandSteps),
    "Loading: 0%\nLoading: 25%\nLoading: 50%\nLoading: 75%\nLoading: 100%\n",
  );
});

Deno.test("on a terminal one line is redrawn and ended once", () => {
  const written = show(true, [0, 0.5, 0.501, 1, 1]);
  assertEquals(written.split("\r").length - 1, 3);
  assertEquals(written.split("\n").length - 1, 1);
  assertStringIncludes(written, `[${"#".repeat(15)}${" ".repeat(15)}]  50%`);
});

Deno.test("progress neither goes back nor leaves the range", () => {
  assertEquals(show(false, [0.5, 0.2, 7]), "Loading: 50%\nLoading: 100%\n");
});
