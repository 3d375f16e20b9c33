import { assertEquals, assertMatch } from "@std/assert";
import { CudaFunctionAttribute } from "../../../src/native/cudart_types.ts";
import { compile, openEmulatedNvrtc } from "./_emulated_kernels.ts";
import { type LaunchShape, Status, statusOf, type TestRuntime, withRuntime } from "./_runtime.ts";

const SOURCE = `
#include "ptx.cuh"
extern "C" __global__ void add_one(int* values) {
  pdl_launch_dependents();
  pdl_wait();
  values[threadIdx.x] += 1;
}
extern "C" __global__ void __launch_bounds__(64) narrow(int* values) {
  pdl_wait();
  values[threadIdx.x] = 7;
}
`;

let compiled: Promise<Uint8Array<ArrayBuffer>> | undefined;

/** Runs a test with the kernels above. */
async function withKernels(
  run: (runtime: TestRuntime, addOne: bigint, narrow: bigint, library: bigint) => void,
): Promise<void> {
  compiled ??= openEmulatedNvrtc().then((opened) => {
    using nvrtc = opened;
    return compile(nvrtc, SOURCE);
  });
  const cubin = await compiled;
  await withRuntime((runtime) => {
    const library = runtime.cudart.libraryLoadData(cubin);
    const [addOne, narrow] = ["add_one", "narrow"].map((name) =>
      runtime.cudart.libraryGetKernel(library, name)
    );
    run(runtime, addOne, narrow, library);
    if (runtime.controls.fault() === "" && !runtime.abandoned) {
      runtime.cudart.libraryUnload(library);
    }
  });
}

Deno.test("emulated launches take their arguments when they are made and run later", () =>
  withKernels((runtime, addOne) => {
    const { cudart, stream } = runtime;
    const values = runtime.upload(new Int32Array(32));
    runtime.launch(addOne, [values]);
    runtime.launch(addOne, [values]);
    assertEquals(cudart.streamQuery(stream), false);
    assertEquals([...runtime.download(values, new Int32Array(32))], new Array(32).fill(2));
    cudart.free(values);
  }));

Deno.test("emulated graphs launch kernels again", () =>
  withKernels((runtime, addOne) => {
    const { cudart, stream } = runtime;
    const values = runtime.upload(new Int32Array(32));
    cudart.streamBeginCapture(stream, 1);
    for (let i = 0; i < 3; i++) runtime.launch(addOne, [values]);
    const graph = cudart.streamEndCapture(stream);
    const executable = cudart.graphInstantiate(graph);
    cudart.graphLaunch(executable, stream);
    cudart.graphLaunch(executable, stream);
    assertEquals(runtime.download(values, new Int32Array(32))[31], 6);
    cudart.graphExecDestroy(executable);
    cudart.graphDestroy(graph);
    cudart.free(values);
  }));

Deno.test("emulated launches refuse what a GPU cannot run", () =>
  withKernels((runtime, addOne, narrow) => {
    const { cudart, controls } = runtime;
    const values = cudart.malloc(4096);
    const cases: [LaunchShape, number][] = [
      [{ block: [1025, 1, 1] }, Status.invalidConfiguration],
      [{ block: [32, 32, 2] }, Status.invalidConfiguration],
      [{ block: [0, 1, 1] }, Status.invalidConfiguration],
      [{ block: [1, 1, 65] }, Status.invalidConfiguration],
      [{ grid: [0, 1, 1] }, Status.invalidConfiguration],
      [{ grid: [1, 65536, 1] }, Status.invalidConfiguration],
      [{ sharedBytes: 48 * 1024 + 1 }, Status.invalidValue],
      [{ stream: 0n }, Status.invalidResourceHandle],
    ];
    for (const [shape, status] of cases) {
      assertEquals(statusOf(() => runtime.launch(addOne, [values], shape)), status);
    }
    const wide = statusOf(() => runtime.launch(narrow, [values], { block: [96, 1, 1] }));
    assertEquals(wide, Status.launchOutOfResources);
    assertEquals(statusOf(() => runtime.launch(17n, [values])), Status.invalidResourceHandle);
    assertEquals(controls.takeMisuses().length, 2);
    cudart.free(values);
  }));

Deno.test("more shared memory has to be asked for, up to what a block can have", () =>
  withKernels((runtime, addOne) => {
    const { cudart } = runtime;
    const attribute = CudaFunctionAttribute.cudaFuncAttributeMaxDynamicSharedMemorySize;
    const values = runtime.upload(new Int32Array(32));
    const most = 227 * 1024;
    const tooMuch = () => cudart.kernelSetAttributeForDevice(addOne, attribute, most + 1, 0);
    assertEquals(statusOf(tooMuch), Status.invalidValue);
    cudart.kernelSetAttributeForDevice(addOne, attribute, most, 0);
    runtime.launch(addOne, [values], { sharedBytes: most });
    assertEquals(runtime.download(values, new Int32Array(32))[0], 1);
    cudart.free(values);
  }));

Deno.test("a kernel of a library that is gone, or that is not in it, is not found", () =>
  withKernels((runtime, addOne, _narrow, library) => {
    const { cudart, controls } = runtime;
    const missing = statusOf(() => cudart.libraryGetKernel(library, "add_two"));
    assertEquals(missing, Status.symbolNotFound);
    const code = new Uint8Array(100);
    assertEquals(statusOf(() => cudart.libraryLoadData(code)), 200);
    controls.takeMisuses();
    assertEquals(cudart.funcGetAttributes(addOne).maxThreadsPerBlock, 1024);
    const unknown = statusOf(() => cudart.libraryGetKernel(0n, "add_one"));
    assertEquals(unknown, Status.invalidResourceHandle);
  }));

Deno.test("injected launch failures stay, injected hangs never end", async () => {
  await withKernels((runtime, addOne) => {
    const { cudart, controls, stream } = runtime;
    const values = runtime.upload(new Int32Array(32));
    controls.injectFailures("launch=2");
    runtime.launch(addOne, [values]);
    runtime.launch(addOne, [values]);
    assertEquals(statusOf(() => cudart.streamSynchronize(stream)), Status.launchFailure);
    assertMatch(controls.fault(), /injected failure of add_one/);
    assertEquals(statusOf(() => runtime.launch(addOne, [values])), Status.launchFailure);
  });
  await withKernels((runtime, addOne) => {
    const { cudart, controls, stream } = runtime;
    const values = runtime.upload(new Int32Array(32));
    controls.injectFailures("hang=2");
    runtime.launch(addOne, [values]);
    runtime.launch(addOne, [values]);
    for (let i = 0; i < 10; i++) assertEquals(cudart.streamQuery(stream), false);
    assertEquals(statusOf(() => cudart.streamSynchronize(stream)), Status.launchTimeout);
    assertMatch(controls.takeMisuses()[0], /waits without a bound/);
    runtime.abandoned = true;
  });
});
