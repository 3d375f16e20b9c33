import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { compileSources } from "../../../../src/native/compile.ts";
import { LibraryError } from "../../../../src/native/library.ts";
import { CPU_SOURCES } from "../../../../src/native/sources.ts";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import { CapacityError } from "../../../../src/tensor/errors.ts";
import { openDevice } from "../../../../src/tensor/open_device.ts";
import { Tensor } from "../../../../src/tensor/tensor.ts";
import { withoutCudart } from "../../_without_cudart.ts";
import { instructionSetFlags } from "../../native/_simd_harness.ts";

Deno.test("openDevice opens the CPU, and refuses what is not there", () => {
  using plain = openDevice();
  using cpu = openDevice({ kind: "cpu", threads: 3 });
  assertEquals([plain.kind, cpu.kind, cpu.description.threads], ["cpu", "cpu", 3]);
  assertEquals(plain.description.threads, navigator.hardwareConcurrency);
  using _ = withoutCudart();
  assertThrows(() => openDevice({ kind: "cuda" }), LibraryError, "Cannot open cudart");
  assertThrows(() => openDevice({ kind: "tpu" as "cpu" }), RangeError, "tpu");
  for (const threads of [0, -1, 1.5, NaN, 1e9]) {
    assertThrows(() => openDevice({ threads }), RangeError, "threads must be from 1 to");
  }
});

Deno.test("the description names processor, instruction set and kernels", () => {
  using device = openCpuDevice({ threads: 1 });
  const { name, instructionSet, instructionSetReason, kernelHash } = device.description;
  assert(name.length > 0);
  assert(/^(amx|avx512|avx2|neon|portable)(\+|$)/.test(instructionSet), instructionSet);
  assert(instructionSetReason.length > 0);
  assert(/^[0-9a-f]{64}$/.test(kernelHash), kernelHash);
  using again = openCpuDevice({ threads: 2 });
  assertEquals(again.description.kernelHash, kernelHash);
  // Another build says that it is another, whoever opens it.
  using other = openCpuDevice({
    threads: 1,
    libraryPath: compileSources(CPU_SOURCES, instructionSetFlags().portable),
  });
  assertEquals(other.description.instructionSet, "portable");
  assertNotEquals(other.description.kernelHash, kernelHash);
});

Deno.test("memory is aligned, copied both ways and inside, and freed once", () => {
  using device = openCpuDevice({ threads: 1 });
  for (const bytes of [0, 1, 100, 5_000_000]) {
    const address = device.allocate(bytes);
    assertEquals(address % 64n, 0n);
    device.free(address);
    assertThrows(() => device.free(address), RangeError, "not allocated");
  }
  const address = device.allocate(64);
  device.upload(address, Uint16Array.from({ length: 32 }, (_, i) => i));
  device.copy(address + 2n, address, 20);
  const read = new Uint16Array(34);
  device.download(read.subarray(1, 13), address);
  assertEquals([...read.subarray(0, 14)], [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 0]);
  device.upload(address, new Uint8Array(0));
  for (const bytes of [-1, 0.5, NaN, 2 ** 60]) {
    assertThrows(() => device.allocate(bytes), RangeError);
    assertThrows(() => device.copy(address, address, bytes), RangeError);
  }
});

Deno.test("allocate throws CapacityError when the machine has no such memory", () => {
  using device = openCpuDevice({ threads: 1 });
  const error = assertThrows(() => device.allocate(2 ** 52), CapacityError, "out of memory");
  assertEquals(error.byteLength, 2 ** 52);
});

Deno.test("vector widens f32, f16 and bf16, and refuses other types", () => {
  using device = openCpuDevice({ threads: 1 });
  const values = [1.5, -2, 0.25, 3];
  const stored = {
    f32: Float32Array.from(values),
    f16: Float16Array.from(values),
    bf16: Uint16Array.from([0x3fc0, 0xc000, 0x3e80, 0x4040]),
  };
  for (const dtype of ["f32", "f16", "bf16"] as const) {
    const address = device.allocate(16);
    device.upload(address, stored[dtype]);
    using tensor = device.vector({ address, dtype, length: 4 });
    assertEquals([...tensor.download(new Float32Array(4))], values);
  }
  const address = device.allocate(16);
  assertThrows(() => device.vector({ address, dtype: "i64", length: 1 }), TypeError);
});

Deno.test("a recording runs at each replay and not before", () => {
  using device = openCpuDevice({ threads: 1 });
  using x = Tensor.allocate(device, { shape: [4] });
  x.upload(Float32Array.of(1, 2, 3, 4));
  using recording = device.record(() => device.add(x, x, x, 4));
  recording.replay();
  recording.replay();
  device.synchronize();
  assertEquals([...x.download(new Float32Array(4))], [4, 8, 12, 16]);
});

Deno.test("disposing a device stops its threads, and may come before its tensors", () => {
  const threads = () => [...Deno.readDirSync("/proc/self/task")].length;
  openCpuDevice({ threads: 4 })[Symbol.dispose]();
  const before = threads();
  for (let i = 0; i < 10; i++) {
    const device = openCpuDevice({ threads: 4 });
    const tensor = Tensor.allocate(device, { shape: [10] });
    device[Symbol.dispose]();
    device[Symbol.dispose]();
    tensor[Symbol.dispose]();
  }
  assert(threads() <= before + 2, `${threads()} threads, ${before} before`);
});
