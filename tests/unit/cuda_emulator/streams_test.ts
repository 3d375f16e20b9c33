import { assert, assertEquals } from "@std/assert";
import { Status, statusOf, withRuntime } from "./_runtime.ts";

Deno.test("emulated streams run nothing before somebody asks", () =>
  withRuntime(({ cudart, stream }) => {
    const target = cudart.malloc(4);
    cudart.memsetAsync(target, 7, 4n, stream);
    assertEquals([1, 2, 3].map(() => cudart.streamQuery(stream)), [false, false, true]);
    cudart.free(target);
  }));

Deno.test("an emulated event is passed after some queries, and only with the work before it", () =>
  withRuntime((runtime) => {
    const { cudart, stream } = runtime;
    const device = runtime.upload(Uint8Array.of(1, 2, 3, 4));
    const { address, bytes } = runtime.pinned(8);
    const event = cudart.eventCreateWithFlags(2);
    assert(cudart.eventQuery(event), "an event that was never recorded is passed");
    bytes.fill(0);
    runtime.copy(address, device, 4);
    cudart.eventRecord(event, stream);
    runtime.copy(address + 4n, device, 4);
    assertEquals([cudart.eventQuery(event), cudart.eventQuery(event)], [false, false]);
    assertEquals(bytes[0], 0, "nothing ran yet");
    assert(cudart.eventQuery(event));
    assertEquals([...bytes], [1, 2, 3, 4, 0, 0, 0, 0]);
    cudart.streamSynchronize(stream);
    assertEquals([...bytes], [1, 2, 3, 4, 1, 2, 3, 4]);
    cudart.eventDestroy(event);
    cudart.free(device);
    cudart.freeHost(address);
  }));

Deno.test("an emulated stream waits for the event of another as it was recorded then", () =>
  withRuntime((runtime) => {
    const { cudart, stream } = runtime;
    const other = runtime.newStream();
    const device = cudart.malloc(2);
    const { address, bytes } = runtime.pinned(2);
    const event = cudart.eventCreateWithFlags(2);
    cudart.memsetAsync(device, 1, 2n, other);
    cudart.eventRecord(event, other);
    cudart.streamWaitEvent(stream, event);
    cudart.memsetAsync(device, 2, 2n, other);
    cudart.eventRecord(event, other);
    runtime.copy(address, device, 2);
    cudart.streamSynchronize(stream);
    assertEquals([...bytes], [1, 1], "the second fill is not what was waited for");
    assert(!cudart.streamQuery(other));
    cudart.streamSynchronize(other);
    cudart.eventDestroy(event);
    cudart.streamDestroy(other);
    cudart.free(device);
    cudart.freeHost(address);
  }));

Deno.test("emulated copies read pinned memory late and pageable memory at once", () =>
  withRuntime((runtime) => {
    const { cudart, stream } = runtime;
    const device = cudart.malloc(2);
    const { address, bytes } = runtime.pinned(1);
    const pageable = Uint8Array.of(5);
    bytes[0] = 5;
    runtime.copy(device, address, 1);
    const pageableAddress = Deno.UnsafePointer.value(Deno.UnsafePointer.of(pageable));
    runtime.copy(device + 1n, pageableAddress, 1);
    bytes[0] = 6;
    pageable[0] = 6;
    cudart.streamSynchronize(stream);
    assertEquals([...runtime.download(device, new Uint8Array(2))], [6, 5]);
    cudart.free(device);
    cudart.freeHost(address);
  }));

Deno.test("emulated copies of rows keep what lies between them", () =>
  withRuntime((runtime) => {
    const { cudart, stream } = runtime;
    const device = runtime.upload(new Uint8Array(12));
    const rows = runtime.pinned(6);
    rows.bytes.set([1, 2, 0, 3, 4, 0]);
    cudart.memcpy2dAsync(device + 1n, 5n, rows.address, 3n, 2n, 2n, 1, stream);
    const found = runtime.download(device, new Uint8Array(12));
    assertEquals([...found], [0, 1, 2, 0, 0, 0, 3, 4, 0, 0, 0, 0]);
    const tooWide = () => cudart.memcpy2dAsync(device, 5n, rows.address, 3n, 4n, 2n, 1, stream);
    assertEquals(statusOf(tooWide), 12);
    cudart.free(device);
    cudart.freeHost(rows.address);
  }));

Deno.test("emulated events measure time when they were made for it", () =>
  withRuntime(({ cudart, stream }) => {
    const [start, end, plain] = [0, 0, 2].map((flags) => cudart.eventCreateWithFlags(flags));
    for (const event of [start, end, plain]) cudart.eventRecord(event, stream);
    assertEquals(statusOf(() => cudart.eventElapsedTime(start, end)), 600);
    cudart.streamSynchronize(stream);
    assert(cudart.eventElapsedTime(start, end) >= 0);
    const status = statusOf(() => cudart.eventElapsedTime(start, plain));
    assertEquals(status, Status.invalidResourceHandle);
    for (const event of [start, end, plain]) cudart.eventDestroy(event);
  }));

Deno.test("handles that are gone, or of another kind, are refused", () =>
  withRuntime(({ cudart, controls, stream }) => {
    const event = cudart.eventCreateWithFlags(2);
    const calls = [
      () => cudart.streamSynchronize(event),
      () => cudart.eventRecord(stream, stream),
      () => cudart.memsetAsync(1n, 0, 1n, 0n),
      () => cudart.streamWaitEvent(0n, event),
    ];
    const statuses = calls.map(statusOf);
    assertEquals(statuses, [400, 400, Status.invalidValue, 400]);
    cudart.eventDestroy(event);
    assertEquals(statusOf(() => cudart.eventDestroy(event)), Status.invalidResourceHandle);
    assertEquals(controls.takeMisuses().length, 5);
  }));
