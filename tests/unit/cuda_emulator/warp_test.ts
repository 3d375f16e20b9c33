import { assertEquals, assertNotEquals } from "@std/assert";
import { EmulatedKernels } from "./_emulated_kernels.ts";

const LANES = Array.from({ length: 32 }, (_, lane) => lane);

Deno.test("shuffles read the lanes that CUDA documents", async () => {
  using kernels = await EmulatedKernels.load(
    `#include "ptx.cuh"
     extern "C" __global__ void shuffle_all(int* out, int operand, int width) {
       pdl_wait();
       const int lane = threadIdx.x;
       const unsigned all = 0xffffffffu;
       out[lane] = __shfl_sync(all, lane, operand, width);
       out[32 + lane] = __shfl_up_sync(all, lane, operand, width);
       out[64 + lane] = __shfl_down_sync(all, lane, operand, width);
       out[96 + lane] = __shfl_xor_sync(all, lane, operand, width);
       // Eight-byte values travel whole.
       const long long wide = __shfl_xor_sync(all, (long long)lane << 40, operand, width);
       out[128 + lane] = (int)(wide >> 40);
     }`,
  );
  const output = kernels.allocate(5 * 32 * 4);
  for (const width of [8, 32]) {
    for (const operand of [0, 1, 5, 7]) {
      kernels.run("shuffle_all", {}, output, operand, width);
      const start = (lane: number) => lane - lane % width;
      const expected = [
        ...LANES.map((lane) => start(lane) + operand),
        ...LANES.map((lane) => lane - operand < start(lane) ? lane : lane - operand),
        ...LANES.map((lane) => lane + operand >= start(lane) + width ? lane : lane + operand),
        ...LANES.map((lane) => lane ^ operand),
        ...LANES.map((lane) => lane ^ operand),
      ];
      assertEquals([...kernels.download(output, new Int32Array(5 * 32))], expected);
    }
  }
});

Deno.test("votes see every lane of the mask, and halves of a warp can vote apart", async () => {
  using kernels = await EmulatedKernels.load(
    `#include "ptx.cuh"
     extern "C" __global__ void vote(unsigned* out) {
       pdl_wait();
       const int lane = threadIdx.x;
       out[lane] = __ballot_sync(0xffffffffu, lane % 3 == 0);
       out[32 + lane] = __any_sync(0xffffffffu, lane == 31) + 2 * __all_sync(0xffffffffu, lane < 31);
       if (lane < 16) out[64 + lane] = __ballot_sync(0x0000ffffu, lane & 1);
       else out[64 + lane] = __ballot_sync(0xffff0000u, 1);
     }`,
  );
  const output = kernels.allocate(96 * 4);
  kernels.run("vote", {}, output);
  const votes = kernels.download(output, new Uint32Array(96));
  const everyThird = LANES.filter((lane) => lane % 3 === 0).reduce(
    (sum, lane) => sum + 2 ** lane,
    0,
  );
  assertEquals([...votes.subarray(0, 32)], LANES.map(() => everyThird));
  assertEquals([...votes.subarray(32, 64)], LANES.map(() => 1));
  assertEquals(
    [...votes.subarray(64)],
    LANES.map((lane) => lane < 16 ? 0x0000aaaa : 0xffff0000),
  );
});

Deno.test("sums over warps and blocks and maxima over warps reach every thread", async () => {
  using kernels = await EmulatedKernels.load(
    `#include "ptx.cuh"
     #include "reduce.cuh"
     extern "C" __global__ void reduce_all(float* out) {
       pdl_wait();
       float* scratch = (float*)shared_memory();
       const float v = threadIdx.x;
       out[threadIdx.x] = block_sum(v, scratch);
       out[blockDim.x + threadIdx.x] = warp_sum(v);
       out[2 * blockDim.x + threadIdx.x] = warp_max(v);
     }`,
  );
  const threads = 96;
  const output = kernels.allocate(3 * threads * 4);
  kernels.run("reduce_all", { threads, sharedBytes: 128 }, output);
  const results = kernels.download(output, new Float32Array(3 * threads));
  const each = (value: (thread: number) => number) =>
    Array.from({ length: threads }, (_, thread) => value(thread));
  assertEquals([...results], [
    ...each(() => threads * (threads - 1) / 2),
    ...each((thread) => 32 * 31 / 2 + 32 * (thread - thread % 32)),
    ...each((thread) => thread - thread % 32 + 31),
  ]);
});

Deno.test("barriers count, atomics of a block add up, and blocks come in no order", async () => {
  using kernels = await EmulatedKernels.load(
    `#include "ptx.cuh"
     extern "C" __global__ void enlist(int* order, int* counts, int* next, float* sum) {
       pdl_wait();
       int* seen = (int*)shared_memory();
       if (threadIdx.x == 0) seen[0] = 0;
       __syncthreads();
       atomicAdd(seen, 1);
       const int odd = __syncthreads_count(threadIdx.x & 1);
       if (threadIdx.x != 0) return;
       order[atomicAdd(next, 1)] = blockIdx.x;
       counts[blockIdx.x] = 1000 * seen[0] + odd;
       atomicAdd(sum, 0.5f);
       atomicMax(next + 1, (int)blockIdx.x);
     }`,
  );
  const blocks = 40;
  const order = kernels.allocate(4 * blocks);
  const counts = kernels.allocate(4 * blocks);
  const next = kernels.upload(new Int32Array([0, -1]));
  const sum = kernels.upload(new Float32Array(1));
  kernels.run("enlist", { blocks, threads: 64, sharedBytes: 4 }, order, counts, next, sum);
  const inOrder = Array.from({ length: blocks }, (_, block) => block);
  const actual = [...kernels.download(order, new Int32Array(blocks))];
  assertNotEquals(actual, inOrder);
  assertEquals(actual.toSorted((a, b) => a - b), inOrder);
  assertEquals([...kernels.download(counts, new Int32Array(blocks))], inOrder.map(() => 64_032));
  assertEquals([...kernels.download(next, new Int32Array(2))], [blocks, blocks - 1]);
  assertEquals(kernels.download(sum, new Float32Array(1))[0], blocks / 2);
});
