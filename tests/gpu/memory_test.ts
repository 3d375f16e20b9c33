import { assert, assertEquals, assertThrows } from "@std/assert";
import { openCudaContext } from "../../src/tensor/cuda/open_context.ts";
import { CapacityError } from "../../src/tensor/errors.ts";
import { useTestLibraries } from "./_device.ts";

await useTestLibraries();

function bytes(length: number, seed: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 0xff);
}

Deno.test("uploads of all sizes arrive, though their source changes at once", () => {
  using opened = openCudaContext();
  const { memory } = opened.context;
  // Around alignment, one staging part (4 MiB) and more than all of them.
  const sizes = [1, 63, 64, 65, 4095, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 19_000_003];
  const uploads = sizes.map((size, seed) => {
    const source = bytes(size, seed);
    const address = memory.allocate(size);
    memory.upload(address, source);
    source.fill(0);
    return { size, seed, address };
  });
  for (const { size, seed, address } of uploads) {
    const found = new Uint8Array(size);
    memory.download(found, address);
    const sent = bytes(size, seed);
    assertEquals(found.findIndex((byte, i) => byte !== sent[i]), -1, `${size} bytes`);
    memory.free(address);
  }
});

Deno.test("many small uploads pass through the staging memory more than once", () => {
  using opened = openCudaContext();
  const { memory } = opened.context;
  const count = 300;
  const size = 100_000;
  const address = memory.allocate(count * size);
  for (let i = 0; i < count; i++) {
    memory.upload(address + BigInt(i * size), new Uint8Array(size).fill(i));
  }
  const found = new Uint8Array(count * size);
  memory.download(found, address);
  for (let i = 0; i < count; i++) {
    assertEquals([found[i * size], found[(i + 1) * size - 1]], [i & 0xff, i & 0xff]);
  }
});

Deno.test("a readback holds what was there when it was started", () => {
  using opened = openCudaContext();
  const { memory } = opened.context;
  const address = memory.allocate(1000);
  using first = memory.readback(1000);
  using second = memory.readback(1000);
  memory.upload(address, bytes(1000, 1));
  first.start(address, 1000);
  memory.upload(address, bytes(1000, 2));
  second.start(address, 500);
  assertEquals(second.read(), bytes(1000, 2).subarray(0, 500));
  assert(first.isReady(), "the stream is in order");
  assertEquals(first.read(), bytes(1000, 1));
  assertThrows(() => first.start(address, 1001), RangeError, "room for 1000");
});

Deno.test("a recording repeats copies on what the memory holds by then", () => {
  using opened = openCudaContext();
  const { memory, stream } = opened.context;
  const [from, to] = [memory.allocate(64), memory.allocate(64)];
  memory.upload(from, bytes(64, 3));
  memory.upload(to, bytes(64, 9));
  using recording = stream.record(() => memory.copy(to, from, 64));
  const found = new Uint8Array(64);
  memory.download(found, to);
  assertEquals(found, bytes(64, 9), "recording runs nothing");
  for (const seed of [3, 4]) {
    memory.upload(from, bytes(64, seed));
    recording.replay();
    memory.download(found, to);
    assertEquals(found, bytes(64, seed));
  }
});

Deno.test("a recording that fails leaves the stream as it was", () => {
  using opened = openCudaContext();
  const { memory, stream } = opened.context;
  const address = memory.allocate(64);
  assertThrows(() => stream.record(() => memory.allocate(64)), Error, "recording is being made");
  memory.upload(address, bytes(64, 1));
  const found = new Uint8Array(64);
  memory.download(found, address);
  assertEquals(found, bytes(64, 1));
});

Deno.test("memory that is not there is a CapacityError, and the GPU goes on", () => {
  using opened = openCudaContext();
  const { memory } = opened.context;
  const error = assertThrows(() => memory.allocate(2 ** 45), CapacityError);
  assertEquals(error.byteLength, 2 ** 45);
  memory.free(memory.allocate(64));
  assertThrows(() => memory.free(64n), RangeError, "not allocated");
});

Deno.test("a GPU that the process does not see is refused", () => {
  assertThrows(() => openCudaContext({ index: 999 }), RangeError, "Cannot open GPU 999");
});
