/**
 * Speed of attention over the paged cache: `deno bench -A bench/attention_bench.ts`.
 *
 * Decoding reads each key and value once: GB/s counts against the machine's memory bandwidth. Prefill
 * computes: GFLOP/s counts the products of the keys that causality leaves.
 * @module
 */
import { cpuKvBlockBytes } from "../src/tensor/cpu/kv_cache.ts";
import { openCpuDevice } from "../src/tensor/cpu/device.ts";
import {
  KV_BLOCK_SIZE,
  type KvCacheLayer,
  type KvCacheShape,
} from "../src/tensor/attention_kernels.ts";
import type { Device } from "../src/tensor/device.ts";
import { dtypeBytes, type KvDType } from "../src/tensor/dtype.ts";
import { Tensor } from "../src/tensor/tensor.ts";
import { measure } from "./_measure.ts";

/** Bytes of keys and values to go round in, more than any cache holds. */
const ROUND_BYTES = 256 * 2 ** 20;

const DTYPES = ["f32", "bf16", "int8"] as const;

const MODELS = [
  { model: "135M", numHeads: 9, numKvHeads: 3, headDim: 64 },
  { model: "1B", numHeads: 32, numKvHeads: 8, headDim: 64 },
  { model: "8B", numHeads: 32, numKvHeads: 8, headDim: 128 },
];

/** Tokens of one sequence in a step, after `context` tokens that are in the cache. */
const STEPS = [
  { name: "decode at 512", context: 511, tokens: 1 },
  { name: "decode at 4096", context: 4095, tokens: 1 },
  { name: "prefill 512", context: 0, tokens: 512 },
  { name: "prefill 512 at 3584", context: 3584, tokens: 512 },
];

function filled(device: Device, shape: number[]): Tensor {
  const tensor = Tensor.allocate(device, { shape });
  tensor.upload(Float32Array.from({ length: tensor.size }, (_, i) => Math.sin(i)));
  return tensor;
}

function integers(device: Device, values: ArrayLike<number>, shape = [values.length]): Tensor {
  const tensor = Tensor.allocate(device, { shape, dtype: "i32" });
  tensor.upload(Int32Array.from(values));
  return tensor;
}

/** A layer's cache with contents; layers share the values, not the memory. */
function cacheLike(
  device: Device,
  first: KvCacheLayer | null,
  { numBlocks, ...shape }: KvCacheShape & { readonly numBlocks: number },
): KvCacheLayer {
  const cache = device.kvCache(numBlocks, shape);
  for (const part of ["keys", "values"] as const) {
    const { address, size, dtype } = cache[part];
    const bytes = size * dtypeBytes(dtype);
    if (first) device.copy(address, first[part].address, bytes);
    // A byte of 60 to 63 makes numbers of moderate size of any type, and scales.
    else cache[part].upload(Uint8Array.from({ length: bytes }, (_, i) => 60 + (i * 7 >> 2) % 4));
  }
  return cache;
}

function benchAttention(
  threads: number,
  model: typeof MODELS[number],
  step: typeof STEPS[number],
  dtype: KvDType,
): void {
  using device = openCpuDevice({ threads });
  const { numHeads, numKvHeads, headDim } = model;
  const { context, tokens } = step;
  const length = context + tokens;
  const numBlocks = Math.ceil(length / KV_BLOCK_SIZE);
  const bytes = 2 * cpuKvBlockBytes({ numKvHeads, headDim, dtype }) * length / KV_BLOCK_SIZE;
  const layers = tokens === 1 ? Math.ceil(ROUND_BYTES / bytes) : 1;
  const caches: KvCacheLayer[] = [];
  for (let layer = 0; layer < layers; layer++) {
    caches.push(cacheLike(device, caches[0] ?? null, { numBlocks, numKvHeads, headDim, dtype }));
  }
  const queries = filled(device, [tokens, numHeads * headDim]);
  const out = filled(device, [tokens, numHeads * headDim]);
  const batch = {
    positions: integers(device, Array.from({ length: tokens }, (_, i) => context + i)),
    slotMapping: integers(device, Array.from({ length: tokens }, (_, i) => context + i)),
    queryStarts: integers(device, [0, tokens]),
    contextStarts: integers(device, [context]),
    tableRows: integers(device, [0]),
    blockTables: integers(device, [...Array(numBlocks).keys()], [1, numBlocks]),
  };
  const heads = Array.from(
    { length: numHeads },
    (_, head) => Math.floor(head * numKvHeads / numHeads),
  );
  const shape = {
    numHeads,
    numKvHeads,
    kvHeadOfHead: integers(device, heads),
    headDim,
    scale: 1 / Math.sqrt(headDim),
    slidingWindow: 0,
  };
  const pairs = tokens * context + tokens * (tokens + 1) / 2;
  let call = 0;
  measure(
    `${dtype} ${model.model}, ${step.name}, ${threads} threads`,
    { bytes, flops: 4 * pairs * numHeads * headDim },
    () => {
      const cache = caches[call++ % layers];
      device.pagedAttention(out, queries, cache, batch, { tokens, sequences: 1 }, shape);
    },
  );
}

for (const threads of new Set([1, navigator.hardwareConcurrency])) {
  for (const model of MODELS) {
    for (const step of STEPS) {
      for (const dtype of DTYPES) benchAttention(threads, model, step, dtype);
    }
  }
}
