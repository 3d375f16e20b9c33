import { assertEquals, assertThrows } from "@std/assert";
import { formatBytes } from "../../../src/engine/format_bytes.ts";
import { blocksInBytes, blocksOnGpu } from "../../../src/engine/kv_cache_size.ts";
import { CapacityError } from "../../../src/tensor/errors.ts";

Deno.test("a cache of so many bytes has what fits and is enough", () => {
  assertEquals(blocksInBytes(1000, { blockBytes: 64, enough: 100 }), 15);
  assertEquals(blocksInBytes(1000, { blockBytes: 64, enough: 7 }), 7);
  assertThrows(
    () => blocksInBytes(63, { blockBytes: 64, enough: 7 }),
    RangeError,
    "raise kvCacheMemory",
  );
});

Deno.test("a GPU gives the cache what may be used and is not", () => {
  const gpu = { total: 1000, free: 700, utilization: 0.9, blockBytes: 10 };
  assertEquals(blocksOnGpu(gpu), 60);
  assertEquals(blocksOnGpu({ ...gpu, utilization: 0.5 }), 20);
  // The null block and what later allocations round up to find their place in what may not be used.
  assertEquals(blocksOnGpu({ ...gpu, blockBytes: 599 }), 1);
  assertThrows(
    () => blocksOnGpu({ ...gpu, utilization: 0.3 }),
    CapacityError,
    "300 bytes of 1.0 kB are used and 0.3 of them may be",
  );
});

Deno.test("amounts of memory are said in the unit that suits them", () => {
  const shown = [0, 999, 1000, 16.12e9, 2.5e12, 7e15].map(formatBytes);
  assertEquals(shown, ["0 bytes", "999 bytes", "1.0 kB", "16.1 GB", "2.5 TB", "7000.0 TB"]);
});
