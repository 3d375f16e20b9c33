import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { headFeatures, partition, partitionHeads } from "../../../src/layers/partition.ts";
import { partitionVocab } from "../../../src/layers/vocab_parallel.ts";

const sizes = fc.integer({ min: 1, max: 5000 });
const counts = fc.integer({ min: 1, max: 16 });

Deno.test("partition: shards are contiguous and cover the dimension once", () => {
  fc.assert(fc.property(sizes, counts, (size, parts) => {
    let next = 0;
    for (let rank = 0; rank < parts; rank++) {
      const shard = partition(size, { rank, parts });
      if (shard.count > 0) assertEquals(shard.start, next);
      next += shard.count;
    }
    assertEquals(next, size);
  }));
});

Deno.test("partition: on 1, 2, 4 and 8 ranks shards end where fixed blocks end", () => {
  fc.assert(fc.property(sizes, fc.constantFrom(1, 2, 4, 8), (size, parts) => {
    const { blockSize } = partition(size, { rank: 0, parts: 1 });
    for (let rank = 0; rank < parts; rank++) {
      const shard = partition(size, { rank, parts });
      assertEquals(shard.blockSize, blockSize);
      assert(shard.count === 0 || shard.start % blockSize === 0);
      assert(shard.count <= blockSize * (8 / parts));
    }
  }));
});

Deno.test("partitionHeads: a rank holds every key/value head that its queries read", () => {
  const heads = fc.tuple(counts, counts, counts).map(([kv, group, parts]) => ({
    numKvHeads: kv,
    numHeads: kv * group,
    parts,
  })).filter(({ numHeads, parts }) => numHeads % parts === 0);
  fc.assert(fc.property(heads, ({ numHeads, numKvHeads, parts }) => {
    const group = numHeads / numKvHeads;
    for (let rank = 0; rank < parts; rank++) {
      const shard = partitionHeads({ numHeads, numKvHeads }, { rank, parts });
      assertEquals(shard.numHeads, numHeads / parts);
      assertEquals(shard.firstHead, rank * shard.numHeads);
      const needed = new Set(
        Array.from({ length: shard.numHeads }, (_, i) => Math.floor((shard.firstHead + i) / group)),
      );
      assertEquals(shard.firstKvHead, Math.min(...needed));
      assertEquals(shard.numKvHeads, needed.size);
    }
  }));
});

Deno.test("partitionHeads: names the sizes that work", () => {
  assertThrows(
    () => partitionHeads({ numHeads: 14, numKvHeads: 2 }, { rank: 0, parts: 4 }),
    RangeError,
    "Cannot shard attention as numHeads must be divisible by tensor parallel size 4: " +
      "current value is 14; sizes that work: 1, 2, 7, 14",
  );
});

Deno.test("headFeatures: keeps the model's fixed blocks where heads end with them", () => {
  const heads = (rank: number, parts: number) =>
    partitionHeads({ numHeads: 12, numKvHeads: 4 }, { rank, parts });
  const options = { numHeads: 12, headDim: 20 };
  assertEquals(headFeatures(heads(0, 1), options), { start: 0, count: 240, blockSize: 30 });
  assertEquals(headFeatures(heads(1, 2), options), { start: 120, count: 120, blockSize: 30 });
  assertEquals(headFeatures(heads(2, 3), options), { start: 160, count: 80, blockSize: 10 });
});

Deno.test("partitionVocab: every rank has the same width, and each id one owner", () => {
  fc.assert(fc.property(sizes, counts, (vocabSize, parts) => {
    let next = 0;
    const { paddedCount } = partitionVocab(vocabSize, { rank: 0, parts });
    for (let rank = 0; rank < parts; rank++) {
      const shard = partitionVocab(vocabSize, { rank, parts });
      assertEquals(shard.paddedCount, paddedCount);
      assertEquals(shard.firstId, rank * paddedCount);
      assertEquals(paddedCount % shard.blockSize, 0);
      if (shard.count > 0) assertEquals(shard.firstId, next);
      next += shard.count;
    }
    assertEquals(next, vocabSize);
  }));
});
