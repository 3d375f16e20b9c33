import { assertEquals } from "@std/assert";
import { EmulatedKernels } from "./_emulated_kernels.ts";

const ROUNDS = 7;
const THREADS = 64;

// Sums the rows of a matrix [ROUNDS][THREADS], each thread a column from the other end, so that
// threads read what others have brought.
const SUM_ROWS = `
  #include "ptx.cuh"
  extern "C" __global__ void sum_rows(float* out, const float* in, int rounds) {
    pdl_wait();
    float* buffers = (float*)shared_memory();
    const int i = threadIdx.x;
    auto fetch = [&](int round) {
      if (i < 16) {
        cp_async16_or_zero(buffers + round % 3 * 64 + 4 * i, in + round * 64 + 4 * i,
                           round < rounds);
      }
      cp_async_commit();
    };
    fetch(0);
    fetch(1);
    float sum = 0;
    // One round too many: it adds the zeros of a copy that is out of range.
    for (int round = 0; round <= rounds; round++) {
      cp_async_wait<1>();
      __syncthreads();
      sum += buffers[round % 3 * 64 + 63 - i];
      fetch(round + 2);
    }
    out[i] = sum;
  }`;

Deno.test("groups of asynchronous copies end in the order in which they were closed", async () => {
  using kernels = await EmulatedKernels.load(SUM_ROWS);
  const input = Float32Array.from({ length: ROUNDS * THREADS }, (_, i) => i * 31 % 101);
  const output = kernels.allocate(4 * THREADS);
  const shape = { threads: THREADS, sharedBytes: 768 };
  kernels.run("sum_rows", shape, output, kernels.upload(input), ROUNDS);
  const sums = Array.from({ length: THREADS }, (_, thread) => {
    const column = THREADS - 1 - thread;
    return Array.from({ length: ROUNDS }, (_, row) => input[row * THREADS + column])
      .reduce((sum, value) => sum + value, 0);
  });
  assertEquals([...kernels.download(output, new Float32Array(THREADS))], sums);
});

Deno.test("copies of 4 bytes arrive where they were asked for, and nowhere else", async () => {
  using kernels = await EmulatedKernels.load(`
    #include "ptx.cuh"
    extern "C" __global__ void reverse(unsigned* out, const unsigned* in, int count) {
      pdl_wait();
      unsigned* buffer = (unsigned*)shared_memory();
      const int i = threadIdx.x;
      cp_async4_or_zero(buffer + i, in + i, i < count);
      cp_async_commit();
      cp_async_wait<0>();
      __syncthreads();
      out[i] = buffer[31 - i];
    }`);
  const input = Uint32Array.from({ length: 30 }, (_, i) => i + 1);
  const output = kernels.allocate(4 * 32);
  const shape = { threads: 32, sharedBytes: 128 };
  kernels.run("reverse", shape, output, kernels.upload(input), input.length);
  const want = Array.from({ length: 32 }, (_, i) => i < 2 ? 0 : 32 - i);
  assertEquals([...kernels.download(output, new Uint32Array(32))], want);
});
