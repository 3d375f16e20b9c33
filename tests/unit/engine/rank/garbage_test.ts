import { assertEquals, assertLess } from "@std/assert";

/**
 * Bytes of a step of four sequences. The loop of a rank allocates none once V8 has compiled all of it; a busy
 * machine may compile the last functions late, and each of their calls boxes a number.
 */
const MOST_ALLOCATED = { rank: 256, engine: 9_000 };

Deno.test("decode steps allocate nothing on a rank, little in the engine, and keep nothing", () => {
  const { success, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--v8-flags=--expose-gc,--min-semi-space-size=64",
      new URL("../_decode_garbage.ts", import.meta.url).pathname,
    ],
    stdin: "null",
  }).outputSync();
  assertEquals(success, true, new TextDecoder().decode(stderr));
  const { rank, engine, retained } = JSON.parse(new TextDecoder().decode(stdout));
  assertLess(rank, MOST_ALLOCATED.rank);
  assertLess(engine, MOST_ALLOCATED.engine);
  // Far below one number a sequence: what V8 itself keeps of its compilations.
  assertLess(retained, 64);
});
