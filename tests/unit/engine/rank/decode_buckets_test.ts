import { assert, assertEquals, assertThrows } from "@std/assert";
import { bucketOf, decodeBuckets } from "../../../../src/engine/rank/decode_buckets.ts";

Deno.test("buckets ascend to the largest batch and waste little", () => {
  assertEquals(decodeBuckets(1), [1]);
  assertEquals(decodeBuckets(6), [1, 2, 4, 6]);
  assertEquals(decodeBuckets(33), [1, 2, 4, 8, 16, 24, 32, 33]);
  assertEquals(decodeBuckets(256).slice(7), [64, 96, 128, 160, 192, 224, 256]);
  assertEquals(decodeBuckets(400).slice(14), [320, 384, 400]);
  for (const largest of [1, 2, 7, 64, 65, 255, 1000]) {
    const buckets = decodeBuckets(largest);
    assertEquals(buckets, [...new Set(buckets)].sort((a, b) => a - b));
    for (let count = 1; count <= largest; count++) {
      const bucket = bucketOf(count, buckets);
      assert(bucket >= count && bucket - count < Math.max(8, count));
    }
  }
});

Deno.test("a batch beyond the largest bucket is refused", () => {
  assertThrows(() => bucketOf(5, decodeBuckets(4)), RangeError, "5 sequences");
});
