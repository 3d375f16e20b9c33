import { assert, assertEquals, assertRejects } from "@std/assert";
import { mergeStreams } from "../../../src/serving/merge_streams.ts";

async function* count(to: number): AsyncGenerator<number, void> {
  for (let i = 0; i < to; i++) yield i;
}

Deno.test("every source keeps its order, and none that is ready waits for long", async () => {
  const merged = await Array.fromAsync(mergeStreams([count(5), count(0), count(5)]));
  assertEquals(merged.filter(([index]) => index === 0).map(([, value]) => value), [0, 1, 2, 3, 4]);
  assertEquals(merged.filter(([index]) => index === 2).map(([, value]) => value), [0, 1, 2, 3, 4]);
  const behind = merged.slice(0, 4).filter(([index]) => index === 2).length;
  assert(behind === 2, `ready sources take turns: ${JSON.stringify(merged)}`);
});

Deno.test("a source that is stuck holds back neither others nor the end", async () => {
  const returned: string[] = [];
  const stuck: AsyncIterator<number, void> = {
    next: () => new Promise(() => {}),
    return: () => {
      returned.push("stuck");
      return Promise.reject(new Error("ignored"));
    },
  };
  const seen: number[] = [];
  for await (const [, value] of mergeStreams([stuck, count(9)])) {
    seen.push(value);
    if (value === 3) break;
  }
  assertEquals(seen, [0, 1, 2, 3]);
  assertEquals(returned, ["stuck"]);
});

Deno.test("the first error ends the merge", async () => {
  async function* failing(): AsyncGenerator<number, void> {
    yield 1;
    throw new Error("broken");
  }
  await assertRejects(
    () => Array.fromAsync(mergeStreams([failing(), count(1000)])),
    Error,
    "broken",
  );
});

Deno.test("an error that comes while nobody reads waits for the reader", async () => {
  async function* failing(): AsyncGenerator<number, void> {
    yield 1;
    throw new Error("broken");
  }
  const merged = mergeStreams([failing()]);
  assertEquals((await merged.next()).value, [0, 1]);
  // The source fails now. A reader that has gone for good must not end the process.
  await new Promise((resolve) => setTimeout(resolve, 0));
  await assertRejects(() => merged.next(), Error, "broken");
});
