import { assertGreater, assertGreaterOrEqual } from "@std/assert";
import { peakMemory } from "../../../src/cli/peak_memory.ts";

Deno.test("the peak counts this process, those that are named, and none that has ended", async () => {
  const child = new Deno.Command("sleep", { args: ["30"], stdin: "null" }).spawn();
  const own = peakMemory([]);
  assertGreater(own, Deno.memoryUsage().rss / 2);
  assertGreater(peakMemory([child.pid]), own);
  child.kill("SIGKILL");
  await child.status;
  assertGreaterOrEqual(peakMemory([]), peakMemory([child.pid]));
});
