import { assertEquals, assertLess } from "@std/assert";

/**
 * Bytes that a step may leave in the engine's thread. All but some of them are Deno's: the promise of a call that
 * waits for the ranks in a thread of its own takes 0.7 KB.
 */
const MOST_ON_ENGINE = 1_200;
/**
 * The same for each more sequence of a batch: what lists that grow with a sequence leave, and the name of a block that
 * it fills, spread over its tokens.
 */
const MOST_A_SEQUENCE = 32;
/** Bytes of a step in the user's thread: its message takes 2.1 KB, each token a chunk, a promise and a turn of the loop. */
const MOST_ON_USER = 4_500;
/** The same for each more sequence. */
const MOST_A_TOKEN = 800;

/** Runs a child that looks at its heap, and returns what it has printed. */
function measure(child: string): { allocated: Record<string, number>; retained: number } {
  const { success, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--v8-flags=--expose-gc,--min-semi-space-size=64",
      new URL(child, import.meta.url).pathname,
    ],
    stdin: "null",
  }).outputSync();
  assertEquals(success, true, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

Deno.test("decode steps of any batch allocate not a byte on a rank, and keep nothing", () => {
  const { allocated, retained } = measure("./_rank_garbage.ts");
  assertEquals(allocated, { 1: 0, 4: 0, 16: 0 });
  // Far below one number a sequence: what V8 itself keeps of its compilations.
  assertLess(retained, 64);
});

Deno.test("decode steps leave next to nothing in the engine's thread, whatever the batch", () => {
  const { allocated } = measure("./_engine_garbage.ts");
  assertLess(allocated[1], MOST_ON_ENGINE);
  assertLess(allocated[16], allocated[1] + 15 * MOST_A_SEQUENCE);
});

Deno.test("a token leaves its chunk and one promise in the thread that reads it", () => {
  const { allocated } = measure("./_user_garbage.ts");
  assertLess(allocated[1], MOST_ON_USER);
  assertLess(allocated[16], allocated[1] + 15 * MOST_A_TOKEN);
});
