import { assertEquals } from "@std/assert";
import { UpdateLog } from "../../../../src/routing/updates/update_log.ts";

Deno.test("a log keeps the latest events, and whoever follows sees each once", async () => {
  const log = new UpdateLog(3);
  const add = (message: string): void => log.add("loading", { replica: "r0", message });
  const follow = async (): Promise<string[]> =>
    (await Array.fromAsync(log.follow())).map(({ index, message }) => `${index} ${message}`);
  add("a");
  const early = follow();
  for (const message of ["b", "c"]) {
    add(message);
    await Promise.resolve();
  }
  for (const message of ["d", "e"]) add(message);
  const late = follow();
  log.close();
  assertEquals(await late, ["2 c", "3 d", "4 e"]);
  const seen = await early;
  assertEquals(seen.at(-1), "4 e");
  assertEquals(seen, [...new Set(seen)].toSorted());
  add("f");
  assertEquals(await follow(), ["3 d", "4 e", "5 f"], "what comes after the end is kept");
  assertEquals(log.events.map(({ type, replica }) => [type, replica])[0], ["loading", "r0"]);
});
