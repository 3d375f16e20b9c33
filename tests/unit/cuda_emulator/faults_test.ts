import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { NativeError } from "../../../src/native/native_error.ts";
import { EmulatedKernels } from "./_emulated_kernels.ts";

const ILLEGAL_ADDRESS = 700;
const MISALIGNED_ADDRESS = 716;
const LAUNCH_FAILURE = 719;

/** A mistake and the same kernel without it: `body` with `mistake` or `remedy` for `$`. */
interface Case {
  readonly mistake: string;
  readonly remedy: string;
  /** Parameters are `float* out, const float* in, int n`: 256, 256 and 64; 64 threads run. */
  readonly body: string;
  readonly status: number;
  readonly message: RegExp;
}

const PROLOGUE = "pdl_wait(); float* shared = (float*)shared_memory(); const int i = threadIdx.x;";

const CASES: Record<string, Case> = {
  "two warps write the same byte of shared memory": {
    mistake: "shared[0] = in[i];",
    remedy: "if (i == 0) shared[0] = in[i];",
    body: "$ __syncthreads(); out[i] = shared[0];",
    status: LAUNCH_FAILURE,
    message: /Race on byte \d of shared memory.*kernel wrong at test\.cu:\d+/,
  },
  "a __syncthreads is missing between a write and a read": {
    mistake: "__syncwarp();",
    remedy: "__syncthreads();",
    body: "shared[i] = in[i]; shared[i + 64] = 0; __syncthreads();" +
      "shared[i] = in[i] * 2; $ out[i] = shared[63 - i];",
    status: LAUNCH_FAILURE,
    message: /Race on byte \d+ of shared memory: .* no barrier lies between them/,
  },
  "a __syncthreads is missing between a read and a write": {
    mistake: "",
    remedy: "__syncthreads();",
    body: "shared[i] = in[i]; __syncthreads(); out[i] = shared[63 - i]; $ shared[i] = 1;",
    status: LAUNCH_FAILURE,
    message: /Race on byte \d+ of shared memory: .* no barrier lies between them/,
  },
  "lanes exchange through shared memory without __syncwarp": {
    mistake: "",
    remedy: "__syncwarp();",
    body: "shared[i] = in[i]; $ out[i] = shared[i ^ 1];",
    status: LAUNCH_FAILURE,
    message: /Race on byte|which nobody has written/,
  },
  "some threads do not reach a barrier": {
    mistake: "if (i < 40) __syncthreads();",
    remedy: "__syncthreads();",
    body: "$ out[i] = 1;",
    status: LAUNCH_FAILURE,
    message:
      /wait for each other for ever: 24 have ended, 40 are at __syncthreads \(test\.cu:\d+\)/,
  },
  "threads are at two barriers": {
    mistake: "if (i < 32) __syncthreads();\nelse __syncthreads();",
    remedy: "__syncthreads();",
    body: "$ out[i] = 1;",
    status: LAUNCH_FAILURE,
    message: /Threads of a block are at different barriers: test\.cu:\d+ and test\.cu:\d+/,
  },
  "half a warp takes part in a shuffle of the whole": {
    mistake: "if (i % 32 < 16)",
    remedy: "",
    body: "float v = 1; $ v = __shfl_xor_sync(0xffffffffu, v, 1); out[i] = v;",
    status: LAUNCH_FAILURE,
    message: /wait for each other for ever: 32 have ended, 32 are at a shuffle/,
  },
  "a write behind the end of device memory": {
    mistake: "+ 193",
    remedy: "+ 192",
    body: "out[i $] = 1;",
    status: ILLEGAL_ADDRESS,
    message: /Write of 4 bytes at 0x\w+: out of bounds: byte 1024 of 1024 bytes of device memory/,
  },
  "a read before the start of device memory": {
    mistake: "- 1",
    remedy: "",
    body: "out[i] = in[i $];",
    status: ILLEGAL_ADDRESS,
    message: /Read of 4 bytes at 0x\w+: out of bounds/,
  },
  "a null pointer": {
    mistake: "out = nullptr;",
    remedy: "",
    body: "$ out[0] = 1;",
    status: ILLEGAL_ADDRESS,
    message: /Write of 4 bytes at 0x0: a null pointer/,
  },
  "shared memory beyond what the launch gave": {
    mistake: "1",
    remedy: "0",
    body: "shared[512 - 64 + i + $] = 1;",
    status: ILLEGAL_ADDRESS,
    message: /Access of 4 bytes at byte 2048 of shared memory, of which the launch gives 2048/,
  },
  "device memory that nobody has written": {
    mistake: "out[200]",
    remedy: "in[200]",
    body: "out[i] = $;",
    status: ILLEGAL_ADDRESS,
    message: /Read of 4 bytes at 0x\w+: nobody has written them all/,
  },
  "shared memory that nobody has written": {
    mistake: "",
    remedy: "shared[i] = 0;",
    body: "$ out[i] = shared[i];",
    status: LAUNCH_FAILURE,
    message: /Read of byte \d+ of shared memory, which nobody has written/,
  },
  "a vector that is not aligned": {
    mistake: "in + 1",
    remedy: "in + 4",
    body: "float v[4]; load16($, v); out[i] = v[0];",
    status: MISALIGNED_ADDRESS,
    message: /Access at 0x\w+4, which is not a multiple of 16.* at numbers\.cuh:\d+/,
  },
  "an index outside a local array": {
    mistake: "n",
    remedy: "n / 16",
    body: "float v[8]; for (int j = 0; j < 8; j++) v[j] = in[j]; out[i] = v[$];",
    status: LAUNCH_FAILURE,
    message: /Index 64 is outside its array/,
  },
  "no pdl_wait on one path": {
    mistake: "if (i != 3)",
    remedy: "",
    body: "$ pdl_wait();",
    status: LAUNCH_FAILURE,
    message: /A thread ends without pdl_wait\(\).*thread \(3, 0, 0\)/,
  },
  "a write before pdl_wait": {
    mistake: "out[i] = 1;",
    remedy: "",
    body: "$ pdl_wait(); out[i] = 1;",
    status: LAUNCH_FAILURE,
    message: /Write of 4 bytes at 0x\w+: it comes before pdl_wait\(\)/,
  },
  "no wait for an asynchronous copy": {
    mistake: "cp_async_wait<1>();",
    remedy: "cp_async_wait<0>();",
    body: "if (i < 16) cp_async16_or_zero(shared + 4 * i, in + 4 * i, true);" +
      "cp_async_commit(); $ __syncthreads(); out[i] = shared[i];",
    status: LAUNCH_FAILURE,
    message: /while an asynchronous copy to it.*a wait for the copy is missing/,
  },
  "a barrier is missing after the wait for others' copies": {
    mistake: "",
    remedy: "__syncthreads();",
    body: "cp_async16_or_zero(shared + 4 * i, in + 4 * (i % 32), true);" +
      "cp_async_commit(); cp_async_wait<0>(); $ out[i] = shared[255 - i];",
    status: LAUNCH_FAILURE,
    message: /Race on byte|is under way|which nobody has written/,
  },
};

// Where a case is about pdl_wait, the prologue must not call it.
const prologueOf = (body: string): string =>
  body.includes("pdl_wait") ? PROLOGUE.replace("pdl_wait();", "") : PROLOGUE;

function kernelOf({ body }: Case, name: string, filling: string): string {
  const text = `${prologueOf(body)} ${body.replace("$", filling)}`;
  return `extern "C" __global__ void ${name}(float* out, const float* in, int n) {\n${text}\n}\n`;
}

for (const [name, planted] of Object.entries(CASES)) {
  Deno.test(`the emulator reports ${name}`, async () => {
    const source = `#include "numbers.cuh"\n` +
      kernelOf(planted, "wrong", planted.mistake) + kernelOf(planted, "right", planted.remedy);
    using kernels = await EmulatedKernels.load(source);
    const input = kernels.upload(new Float32Array(256).fill(1));
    const shape = { threads: 64, sharedBytes: 2048 };

    kernels.run("right", shape, kernels.allocate(1024), input, 64);
    assertEquals(kernels.fault(), "");

    const output = kernels.allocate(1024);
    const error = assertThrows(() => kernels.run("wrong", shape, output, input, 64), NativeError);
    assertEquals(error.status, planted.status);
    assertMatch(kernels.fault(), planted.message);
    assertMatch(kernels.fault(), /thread \(\d+, 0, 0\) of block \(0, 0, 0\) of kernel wrong/);
  });
}

Deno.test("the emulator reports the use of freed memory", async () => {
  using kernels = await EmulatedKernels.load(
    `#include "ptx.cuh"
     extern "C" __global__ void add_one(float* v) { pdl_wait(); v[threadIdx.x] += 1; }`,
  );
  const values = kernels.upload(new Float32Array(32));
  kernels.run("add_one", {}, values);
  kernels.free(values);
  const error = assertThrows(() => kernels.run("add_one", {}, values), NativeError);
  assertEquals(error.status, ILLEGAL_ADDRESS);
  assertMatch(kernels.fault(), /Read of 4 bytes at 0x\w+: freed memory: byte \d+ of 128 bytes/);
});

Deno.test("the emulator reports the use of another device's memory", async () => {
  using kernels = await EmulatedKernels.load(
    `#include "ptx.cuh"
     extern "C" __global__ void fill(float* out) { pdl_wait(); out[threadIdx.x] = 1; }`,
  );
  kernels.run("fill", {}, kernels.allocate(128));
  const foreign = kernels.allocate(128, 1);
  const error = assertThrows(() => kernels.run("fill", {}, foreign), NativeError);
  assertEquals(error.status, ILLEGAL_ADDRESS);
  assertMatch(kernels.fault(), /Write of 4 bytes at 0x\w+: it is memory of device 1/);
});

Deno.test("the emulator reports a read, before pdl_wait, of what a kernel has written", async () => {
  using kernels = await EmulatedKernels.load(
    `#include "ptx.cuh"
     extern "C" __global__ void copy(float* out, const float* in) {
       const float v = in[threadIdx.x];
       pdl_wait();
       out[threadIdx.x] = v;
     }`,
  );
  const weights = kernels.upload(new Float32Array(32));
  const activations = kernels.allocate(128);
  kernels.run("copy", {}, activations, weights);
  const run = () => kernels.run("copy", {}, kernels.allocate(128), activations);
  assertEquals(assertThrows(run, NativeError).status, LAUNCH_FAILURE);
  assertMatch(kernels.fault(), /Read of 4 bytes at 0x\w+: it comes before pdl_wait\(\)/);
});
