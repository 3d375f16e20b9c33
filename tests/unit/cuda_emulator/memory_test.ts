import { assert, assertEquals, assertMatch } from "@std/assert";
import { CudaHostFlags, CudaMemcpyKind } from "../../../src/native/cudart_types.ts";
import { Status, statusOf, withRuntime } from "./_runtime.ts";

const { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice } = CudaMemcpyKind;

Deno.test("emulated device memory that nobody has written arrives as NaN", () =>
  withRuntime((runtime) => {
    const { cudart, stream } = runtime;
    const device = cudart.malloc(12);
    cudart.memsetAsync(device + 4n, 0, 4n, stream);
    const found = runtime.download(device, new Float32Array(3));
    assertEquals([...found], [NaN, 0, NaN]);
    cudart.free(device);
  }));

Deno.test("emulated copies refuse ranges that are not theirs", () =>
  withRuntime((runtime) => {
    const { cudart, controls, stream } = runtime;
    const device = cudart.malloc(100);
    const other = cudart.malloc(100);
    const { address: host } = runtime.pinned(100);
    const copies: [bigint, bigint, bigint, number][] = [
      [device, host, 101n, cudaMemcpyHostToDevice],
      [device + 1n, host, 100n, cudaMemcpyHostToDevice],
      [device, host + 1n, 100n, cudaMemcpyHostToDevice],
      [host, device, 10n, cudaMemcpyHostToDevice],
      [device, host, 10n, cudaMemcpyDeviceToHost],
      [device, host, 10n, cudaMemcpyDeviceToDevice],
      [device - 16n, other, 10n, cudaMemcpyDeviceToDevice],
      [0n, device, 10n, cudaMemcpyDeviceToHost],
    ];
    for (const [to, from, size, kind] of copies) {
      const status = statusOf(() => cudart.memcpyAsync(to, from, size, kind, stream));
      assertEquals(status, Status.invalidValue);
    }
    assertEquals(statusOf(() => cudart.memcpyAsync(device, host, 1n, 9, stream)), 21);
    assertEquals(statusOf(() => cudart.memsetAsync(host, 0, 1n, stream)), Status.invalidValue);
    assertEquals(statusOf(() => cudart.memsetAsync(device, 0, 101n, stream)), Status.invalidValue);
    assert(controls.takeMisuses().length >= 9);
    cudart.memcpyAsync(device, host, 0n, cudaMemcpyHostToDevice, stream);
    cudart.free(device);
    cudart.free(other);
    cudart.freeHost(host);
  }));

Deno.test("emulated memory is freed once, by its function, from its start", () =>
  withRuntime((runtime) => {
    const { cudart, controls } = runtime;
    const device = cudart.malloc(100);
    const { address: host } = runtime.pinned(100);
    assertEquals(statusOf(() => cudart.free(device + 4n)), Status.invalidValue);
    assertEquals(statusOf(() => cudart.free(host)), Status.invalidValue);
    assertEquals(statusOf(() => cudart.freeHost(device)), Status.invalidValue);
    assertEquals(controls.takeMisuses().length, 3);
    cudart.free(device);
    cudart.freeHost(host);
    assertEquals(statusOf(() => cudart.free(device)), Status.invalidValue);
    assertMatch(controls.takeMisuses()[0], /freed twice/);
    cudart.free(0n);
  }));

Deno.test("use after free is found when the work runs", () =>
  withRuntime((runtime) => {
    const { cudart, controls, stream } = runtime;
    const device = runtime.upload(new Uint8Array(8));
    const { address: host } = runtime.pinned(8);
    runtime.copy(device, host, 8);
    cudart.freeHost(host);
    assertMatch(controls.takeMisuses()[0], /freed while queued work uses it/);
    assertEquals(statusOf(() => cudart.streamSynchronize(stream)), Status.illegalAddress);
    assertMatch(controls.fault(), /freed memory/);
    assertEquals(statusOf(() => cudart.malloc(1)), Status.illegalAddress, "a fault stays");
    assertEquals(cudart.getLastError(), Status.illegalAddress);
    assertEquals(cudart.peekAtLastError(), Status.illegalAddress);
  }));

Deno.test("what is not freed is reported", () =>
  withRuntime((runtime) => {
    const { cudart, controls } = runtime;
    const device = cudart.malloc(100);
    const { address: host } = runtime.pinned(50);
    const event = cudart.eventCreateWithFlags(0);
    const leaks = controls.leaks().join("\n");
    assertMatch(leaks, /100 bytes of device memory/);
    assertMatch(leaks, /50 bytes of pinned host memory/);
    assertMatch(leaks, /event/);
    cudart.free(device);
    cudart.freeHost(host);
    cudart.eventDestroy(event);
  }));

Deno.test("emulated devices have memory of their own, and an end to it", () =>
  withRuntime(({ cudart }) => {
    const before = cudart.memGetInfo();
    const device = cudart.malloc(before.free / 2);
    assertEquals(cudart.memGetInfo().free, before.free / 2);
    assertEquals(statusOf(() => cudart.malloc(before.free / 2 + 512)), Status.memoryAllocation);
    cudart.setDevice(1);
    assertEquals(cudart.memGetInfo(), before);
    assertEquals(statusOf(() => cudart.setDevice(cudart.getDeviceCount())), 101);
    cudart.setDevice(0);
    cudart.free(device);
    assertEquals(cudart.memGetInfo(), before);
  }));

Deno.test("host memory is registered once, for reading if it cannot be written", () =>
  withRuntime((runtime) => {
    const { cudart, stream } = runtime;
    const bytes = Uint8Array.from({ length: 8192 }, (_, index) => index);
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
    const { cudaHostRegisterDefault, cudaHostRegisterReadOnly } = CudaHostFlags;
    const unmapped = statusOf(() => cudart.hostRegister(4096n, 10, cudaHostRegisterDefault));
    assertEquals(unmapped, Status.invalidValue);
    cudart.hostRegister(address, bytes.length, cudaHostRegisterReadOnly);
    const again = statusOf(() => cudart.hostRegister(address + 100n, 10));
    assertEquals(again, Status.hostMemoryAlreadyRegistered);
    const device = cudart.malloc(4);
    runtime.copy(device, address + 16n, 4);
    bytes.fill(9, 16, 20);
    cudart.streamSynchronize(stream);
    const found = runtime.download(device, new Uint8Array(4));
    assertEquals([...found], [9, 9, 9, 9], "registered memory is read late");
    cudart.free(device);
    cudart.hostUnregister(address);
    assertEquals(statusOf(() => cudart.hostUnregister(address)), 713);
  }));
