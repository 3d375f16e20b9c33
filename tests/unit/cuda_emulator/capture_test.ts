import { assert, assertEquals, assertMatch } from "@std/assert";
import { CudaStreamCapture } from "../../../src/native/cudart_types.ts";
import { Status, statusOf, type TestRuntime, withRuntime } from "./_runtime.ts";

const {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated,
  cudaStreamCaptureStatusNone,
} = CudaStreamCapture;

/** Captures what `record` queues; the executable graph. */
function capture({ cudart, stream }: TestRuntime, record: () => void): bigint {
  cudart.streamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  record();
  const graph = cudart.streamEndCapture(stream);
  const executable = cudart.graphInstantiate(graph);
  cudart.graphDestroy(graph);
  return executable;
}

Deno.test("an emulated graph runs what was captured, with the memory of each launch", () =>
  withRuntime((runtime) => {
    const { cudart, stream } = runtime;
    const device = cudart.malloc(2);
    const { address, bytes } = runtime.pinned(2);
    const executable = capture(runtime, () => {
      runtime.copy(device, address, 1);
      cudart.memsetAsync(device + 1n, 3, 1n, stream);
      runtime.copy(address + 1n, device, 1);
      assert(cudart.memGetInfo().free > 0, "asking for free memory is allowed");
    });
    assert(cudart.streamQuery(stream), "capturing queues nothing");
    for (const value of [4, 5]) {
      bytes.set([value, 0]);
      cudart.graphUpload(executable, stream);
      cudart.graphLaunch(executable, stream);
      assertEquals([...runtime.download(device, new Uint8Array(2))], [value, 3]);
      assertEquals([...bytes], [value, value]);
    }
    cudart.graphExecDestroy(executable);
    cudart.free(device);
    cudart.freeHost(address);
  }));

Deno.test("captured branches run in an order that their events allow", () =>
  withRuntime((runtime) => {
    const { cudart, stream } = runtime;
    const side = runtime.newStream();
    const [fork, join] = [2, 2].map((flags) => cudart.eventCreateWithFlags(flags));
    const device = cudart.malloc(64);
    const executable = capture(runtime, () => {
      cudart.memsetAsync(device, 1, 64n, stream);
      cudart.eventRecord(fork, stream);
      cudart.streamWaitEvent(side, fork);
      for (let i = 0n; i < 8n; i++) {
        cudart.memsetAsync(device + i, 2, 1n, side);
        cudart.memsetAsync(device + 8n + i, 3, 1n, stream);
      }
      cudart.eventRecord(join, side);
      cudart.streamWaitEvent(stream, join);
      cudart.memcpyAsync(device + 16n, device, 16n, 3, stream);
    });
    for (let launch = 0; launch < 5; launch++) {
      cudart.graphLaunch(executable, stream);
      const found = runtime.download(device, new Uint8Array(32));
      const half = [...new Array(8).fill(2), ...new Array(8).fill(3)];
      assertEquals([...found], [...half, ...half]);
    }
    cudart.graphExecDestroy(executable);
    for (const event of [fork, join]) cudart.eventDestroy(event);
    cudart.streamDestroy(side);
    cudart.free(device);
  }));

Deno.test("calls that a capture forbids fail and end it", () =>
  withRuntime((runtime) => {
    const { cudart, controls, stream } = runtime;
    const device = cudart.malloc(8);
    const event = cudart.eventCreateWithFlags(2);
    const pageable = Deno.UnsafePointer.value(Deno.UnsafePointer.of(new Uint8Array(8)));
    const forbidden: Record<string, () => unknown> = {
      cudaMalloc: () => cudart.malloc(1),
      cudaFree: () => cudart.free(device),
      cudaHostAlloc: () => cudart.hostAlloc(1),
      cudaStreamSynchronize: () => cudart.streamSynchronize(stream),
      cudaStreamQuery: () => cudart.streamQuery(stream),
      cudaEventQuery: () => cudart.eventQuery(event),
      cudaMemcpyAsync: () => runtime.copy(device, pageable, 8),
    };
    for (const mode of [cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal]) {
      for (const [name, call] of Object.entries(forbidden)) {
        cudart.streamBeginCapture(stream, mode);
        assertEquals(cudart.streamIsCapturing(stream), cudaStreamCaptureStatusActive);
        assertEquals(statusOf(call), Status.captureUnsupported, name);
        assertEquals(cudart.streamIsCapturing(stream), cudaStreamCaptureStatusInvalidated);
        const later = statusOf(() => cudart.memsetAsync(device, 0, 8n, stream));
        assertEquals(later, Status.captureInvalidated, name);
        const end = statusOf(() => cudart.streamEndCapture(stream));
        assertEquals(end, Status.captureInvalidated, name);
        assertEquals(cudart.streamIsCapturing(stream), cudaStreamCaptureStatusNone);
      }
    }
    cudart.streamBeginCapture(stream, cudaStreamCaptureModeRelaxed);
    const memory = cudart.malloc(1);
    cudart.graphDestroy(cudart.streamEndCapture(stream));
    cudart.free(memory);
    cudart.free(device);
    cudart.eventDestroy(event);
    assert(controls.takeMisuses().length >= 10);
  }));

Deno.test("a capture must join its branches and depend on nothing outside", () =>
  withRuntime((runtime) => {
    const { cudart, stream } = runtime;
    const side = runtime.newStream();
    const event = cudart.eventCreateWithFlags(2);
    const device = cudart.malloc(8);
    cudart.streamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    cudart.eventRecord(event, stream);
    cudart.streamWaitEvent(side, event);
    cudart.memsetAsync(device, 0, 8n, side);
    assertEquals(statusOf(() => cudart.eventQuery(event)), Status.captureUnsupported);
    assertEquals(statusOf(() => cudart.streamEndCapture(stream)), Status.captureInvalidated);

    cudart.streamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    cudart.eventRecord(event, stream);
    cudart.streamWaitEvent(side, event);
    cudart.memsetAsync(device, 0, 8n, side);
    assertEquals(statusOf(() => cudart.streamEndCapture(stream)), Status.captureUnjoined);

    cudart.eventRecord(event, side);
    cudart.streamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    const outside = statusOf(() => cudart.streamWaitEvent(stream, event));
    assertEquals(outside, Status.captureIsolation);
    assertEquals(statusOf(() => cudart.streamEndCapture(stream)), Status.captureInvalidated);
    runtime.controls.takeMisuses();
    cudart.eventDestroy(event);
    cudart.streamDestroy(side);
    cudart.free(device);
  }));

Deno.test("an executable graph must not be destroyed while it is queued", () =>
  withRuntime((runtime) => {
    const { cudart, controls, stream } = runtime;
    const device = cudart.malloc(8);
    const executable = capture(runtime, () => cudart.memsetAsync(device, 0, 8n, stream));
    cudart.graphLaunch(executable, stream);
    cudart.graphExecDestroy(executable);
    assertMatch(controls.takeMisuses()[0], /destroyed while a launch of it is queued/);
    cudart.streamSynchronize(stream);
    assertEquals(statusOf(() => cudart.graphLaunch(executable, stream)), Status.invalidValue);
    controls.takeMisuses();
    cudart.free(device);
  }));
