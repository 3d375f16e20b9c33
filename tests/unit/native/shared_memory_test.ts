import { assertEquals, assertGreater, assertLess, assertThrows } from "@std/assert";
import { openCommunicationLibrary } from "../../../src/native/communication.ts";
import { SharedEvent } from "../../../src/native/shared_event.ts";
import { AbortFlag, SharedFile, SharedMemory } from "../../../src/native/shared_memory.ts";

const library = openCommunicationLibrary();

Deno.test("what one mapping writes another reads, also after the maker has let go", () => {
  using made = SharedMemory.create(library, 1 << 20);
  using opened = SharedMemory.open(library, made.handle);
  new Uint8Array(made.bytes(5000, 3)).set([1, 2, 3]);
  made[Symbol.dispose]();
  assertEquals([...new Uint8Array(opened.bytes(4999, 5))], [0, 1, 2, 3, 0]);
});

Deno.test("a region leaves no descriptor and no mapping behind", () => {
  const descriptors = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const mappings = () => Deno.readTextFileSync("/proc/self/maps").split("memfd:weft").length;
  const before = [descriptors(), mappings()];
  {
    using made = SharedMemory.create(library, 1 << 20);
    using _opened = SharedMemory.open(library, made.handle);
    assertEquals([descriptors(), mappings()], [before[0] + 1, before[1] + 2]);
  }
  assertEquals([descriptors(), mappings()], before);
});

Deno.test("a sparse region takes no memory before it is touched", () => {
  using made = SharedMemory.create(library, 2 ** 36);
  new Uint8Array(made.bytes(2 ** 35, 1))[0] = 1;
  assertEquals(made.byteLength, 2 ** 36);
});

Deno.test("a region that is gone, or of another size, is refused", () => {
  const made = SharedMemory.create(library, 8192);
  const { handle } = made;
  assertThrows(
    () => SharedMemory.open(library, { ...handle, byteLength: 4096 }),
    Error,
    "Cannot map 4096 bytes of shared memory: Invalid argument",
  );
  made[Symbol.dispose]();
  assertThrows(() => SharedMemory.open(library, handle), Error, "No such file or directory");
  assertThrows(() => made.handle, Error, "its descriptor is closed");
  assertThrows(() => made.bytes(0, 1), Error, "no longer mapped");
});

Deno.test("sizes and ranges out of bounds are refused", () => {
  assertThrows(() => SharedMemory.create(library, 0), RangeError, ": 0");
  assertThrows(() => SharedMemory.create(library, 1e300), RangeError, "1e+300");
  using made = SharedMemory.create(library, 4096);
  assertThrows(() => made.bytes(4095, 2), RangeError, "the region is smaller: 4096 bytes");
  assertThrows(() => made.bytes(-1, 2), RangeError, "-1");
});

Deno.test("the first to raise an abort flag gives the reason", () => {
  using memory = SharedMemory.create(library, 4096);
  const flag = new AbortFlag(library, memory);
  assertEquals([flag.raised, flag.reason], [false, null]);
  assertEquals([flag.raise("first: é", 3), flag.raise("second", 1)], [true, false]);
  assertEquals([flag.raised, flag.reason], [true, { rank: 3, text: "first: é" }]);
});

Deno.test("a reason of any length is kept up to a page", () => {
  using memory = SharedMemory.create(library, 4096);
  const flag = new AbortFlag(library, memory);
  flag.raise("é".repeat(5000), -1);
  assertEquals(flag.reason, { rank: -1, text: "é".repeat(2040) });
});

Deno.test("an event is waited for up to a deadline, modulo 2^32, and not after an abort", () => {
  using memory = SharedMemory.create(library, 8192);
  const abortFlag = new AbortFlag(library, memory);
  const event = new SharedEvent(library, memory.address + 4096n, {
    abortFlag,
    spinMicroseconds: 10,
  });
  const start = performance.now();
  assertEquals(event.wait(1, 60), "timed-out");
  const waited = performance.now() - start;
  assertGreater(waited, 59);
  assertLess(waited, 2000);
  event.post(0xffffffff);
  assertEquals(event.value, 0xffffffff);
  assertEquals([event.wait(0xfffffffe, 0), event.wait(0, 0)], ["reached", "timed-out"]);
  event.post(2);
  assertEquals(event.wait(0xffffffff, 0), "reached");
  abortFlag.raise("over", -1);
  assertEquals([event.wait(2, 1000), event.wait(3, 1000)], ["reached", "aborted"]);
});

Deno.test("a shared file is read where it was written, and is gone after", () => {
  const file = SharedFile.create(library);
  assertEquals(file.read(), "");
  Deno.writeTextFileSync(file.path, "some text");
  assertEquals(file.read(), "some text");
  file[Symbol.dispose]();
  assertThrows(() => file.read(), Deno.errors.NotFound);
});
