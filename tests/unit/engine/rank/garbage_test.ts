import { assertEquals, assertLess } from "@std/assert";

/** Bytes a step that the scheduler, the runner and the sampler may allocate for four sequences. */
const MOST_ALLOCATED = 24_000;

Deno.test("decode steps keep nothing on JavaScript's heap, and allocate little", () => {
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
  const { allocated, retained } = JSON.parse(new TextDecoder().decode(stdout));
  assertLess(allocated, MOST_ALLOCATED);
  // Far below one number a sequence: what V8 itself keeps of its compilations.
  assertLess(retained, 64);
});
