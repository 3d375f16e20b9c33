import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { attentionSplits } from "../../../../src/tensor/cuda/attention_splits.ts";

Deno.test("a long sequence is cut for all multiprocessors, a large batch not at all", () => {
  assertEquals(attentionSplits(8, 132), 16);
  assertEquals(attentionSplits(1, 16), 16);
  assertEquals(attentionSplits(132, 132), 1);
  assertEquals(attentionSplits(100_000, 132), 1);
});

Deno.test("splits leave few multiprocessors idle at the end, or are many", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 20_000 }), (pairs) => {
    const splits = attentionSplits(pairs, 132);
    assert(splits >= 1 && splits <= 64);
    const rounds = pairs * splits / 132;
    assert(rounds / Math.ceil(rounds) > 0.75 || splits >= 32, `${pairs} pairs: ${splits}`);
  }));
});
