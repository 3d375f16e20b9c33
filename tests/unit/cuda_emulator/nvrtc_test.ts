import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { NativeError } from "../../../src/native/native_error.ts";
import { EmulatedKernels, openEmulatedNvrtc } from "./_emulated_kernels.ts";

const INVALID_OPTION = 5;
const COMPILATION = 6;

const GOOD = `extern "C" __global__ void nothing() {}`;

async function compileError(source: string, options: readonly string[] = []): Promise<NativeError> {
  using nvrtc = await openEmulatedNvrtc();
  const headers = [{ name: "part.cuh", text: "\n\nint twice(int v) { return 2 * w; }\n" }];
  return assertThrows(
    () => nvrtc.compile({ source, name: "main.cu", headers, options }),
    NativeError,
  );
}

Deno.test("the emulated NVRTC names file and line of an error", async () => {
  const error = await compileError(`#include "part.cuh"\n${GOOD}`);
  assertEquals(error.status, COMPILATION);
  assertMatch(error.message, /part\.cuh:3:.*'w' was not declared/);
});

Deno.test("the emulated NVRTC refuses what weft's kernels must not have", async () => {
  const withoutC = await compileError("__global__ void nothing() {}");
  assertMatch(withoutC.message, /a kernel is not extern "C"/);
  const shared = await compileError(
    `extern "C" __global__ void nothing() { __shared__ int v; v = 0; }`,
  );
  assertMatch(shared.message, /main\.cu:1:.*__shared__/);
  const assembly = await compileError(
    `extern "C" __global__ void nothing() { asm volatile("griddepcontrol.wait;"); }`,
  );
  assertEquals(assembly.status, COMPILATION);
  const include = await compileError(`#include <cuda_bf16.h>\n${GOOD}`);
  assertMatch(include.message, /cuda_bf16\.h/);
});

Deno.test("the emulated NVRTC refuses options that it does not give their meaning", async () => {
  for (
    const option of [
      "--use_fast_math",
      "--gpu-architecture=sm_91",
      "-arch=compute_90",
      "--std=c++03",
    ]
  ) {
    assertEquals((await compileError(GOOD, [option])).status, INVALID_OPTION);
  }
});

Deno.test("the emulated NVRTC tells its version and architectures", async () => {
  using nvrtc = await openEmulatedNvrtc();
  const major = new Int32Array(1);
  const minor = new Int32Array(1);
  nvrtc.check(nvrtc.symbols.nvrtcVersion(major, minor), "nvrtcVersion");
  assertEquals([major[0], minor[0]], [13, 0]);
  const architectures = nvrtc.supportedArchitectures();
  for (const needed of [80, 90, 100]) assertEquals(architectures.includes(needed), true);
});

Deno.test("kernels are found behind macros and templates, with their launch bounds", async () => {
  using kernels = await EmulatedKernels.load(
    `#include "ptx.cuh"
     namespace part {
     constexpr int kThreads = 96;
     #define FILL(NAME, TYPE)                                                           \\
       extern "C" __global__ void __launch_bounds__(kThreads, 2) NAME(TYPE* out, int v) { \\
         pdl_wait();                                                                    \\
         if (threadIdx.x == 0) *out = static_cast<TYPE>(v); /* } */                     \\
       }
     FILL(fill_int, int)
     FILL(fill_short, short)
     extern "C" __global__ void unbounded(const char* text);
     }
     extern "C" __global__ void unbounded(const char* text) { pdl_wait(); char c = '{'; (void)c; }`,
  );
  assertEquals(kernels.maxThreads("fill_int"), 96);
  assertEquals(kernels.maxThreads("unbounded"), 1024);
  const output = kernels.upload(new Int32Array([-1]));
  kernels.run("fill_short", { threads: 96 }, output, 7);
  assertEquals([...kernels.download(output, new Int16Array(2))], [7, -1]);
  assertThrows(() => kernels.run("fill_short", { threads: 128 }, output, 7), NativeError);
});
