import { assertEquals, assertThrows } from "@std/assert";
import { Status, statusOf, withRuntime } from "./_runtime.ts";

Deno.test("injected failures of allocations come when they were asked for", () =>
  withRuntime(({ cudart, controls }) => {
    controls.injectFailures("allocation=2,host_allocation=1,host_registration=1");
    const first = cudart.malloc(8);
    assertEquals(statusOf(() => cudart.malloc(8)), Status.memoryAllocation);
    cudart.free(cudart.malloc(8));
    cudart.free(first);
    assertEquals(statusOf(() => cudart.hostAlloc(8)), Status.memoryAllocation);
    cudart.freeHost(cudart.hostAlloc(8));
    const bytes = new Uint8Array(64);
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
    assertEquals(statusOf(() => cudart.hostRegister(address, 64)), Status.memoryAllocation);
  }));

Deno.test("injected failures can limit the memory of one device", () =>
  withRuntime(({ cudart, controls }) => {
    const { free, total } = cudart.memGetInfo();
    controls.injectFailures(`memory=${total - free + 4096}@1`);
    cudart.free(cudart.malloc(8192));
    cudart.setDevice(1);
    assertEquals(statusOf(() => cudart.malloc(8192)), Status.memoryAllocation);
    cudart.free(cudart.malloc(2048));
    cudart.setDevice(0);
  }));

Deno.test("failures to inject that are unknown are refused", () =>
  withRuntime(({ controls }) => {
    for (const text of ["allocation", "allocation=0", "fire=3", "launch=1@x,hang=1"]) {
      assertThrows(() => controls.injectFailures(text), RangeError, text);
    }
  }));
