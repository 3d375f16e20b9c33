/**
 * Kernels at the shapes of Llama 3.2 1B and 3.1 8B, in bf16: `deno run -A bench/gpu/kernels.ts`.
 * @module
 */
import { addressOf } from "../../src/native/c_declarations.ts";
import { openCudaDevice } from "../../src/tensor/cuda/device.ts";
import type { Device } from "../../src/tensor/device.ts";
import { dtypeBytes } from "../../src/tensor/dtype.ts";
import { blocksOf, groupedHeads, uniformBatch, type UniformStep } from "./_attention_batch.ts";
import { reportWork } from "./_figures.ts";
import {
  hostValues,
  LINEAR_SHAPES,
  type LinearShape,
  RANDOM,
  ROUND_BYTES,
  tensor,
} from "./_operands.ts";
import { secondsOfRecorded } from "./_timing.ts";

/** Calls of small kernels in one recording. */
const CALLS = 64;

const ROWS = [1, 4, 8];
const NORMS = [{ size: 2048, rows: 1 }, { size: 4096, rows: 1 }, { size: 4096, rows: 64 }, {
  size: 4096,
  rows: 8192,
}];
const DECODE_STEPS: UniformStep[] = [
  { sequences: 1, tokens: 1, context: 1023 },
  { sequences: 1, tokens: 1, context: 32767 },
  { sequences: 8, tokens: 1, context: 4095 },
  { sequences: 64, tokens: 1, context: 1023 },
];
const PREFILL_STEPS: UniformStep[] = [
  { sequences: 1, tokens: 2048, context: 0 },
  { sequences: 1, tokens: 8192, context: 0 },
];

function measureLinear(device: Device, shape: LinearShape): void {
  using stack = new DisposableStack();
  const { name, outFeatures, inFeatures, out } = shape;
  const values = hostValues(outFeatures * inFeatures);
  const weightBytes = values.byteLength;
  const part = {
    address: addressOf(values),
    dtype: "bf16" as const,
    rows: outFeatures,
    columns: inFeatures,
    rowStride: inFeatures,
  };
  const copies = Math.max(2, Math.ceil(ROUND_BYTES / weightBytes));
  const weights = Array.from(
    { length: copies },
    () => stack.use(device.linearWeight([part], "bf16")),
  );
  for (const rows of ROWS) {
    const x = tensor(device, stack, [rows, inFeatures]);
    const scratch = tensor(device, stack, [rows, outFeatures]);
    const width = out === "gated" ? outFeatures / 2 : outFeatures;
    const outDtype = out === "gated" ? "bf16" : out;
    const result = tensor(device, stack, [rows, width], outDtype);
    const calls = weights.map((weight) => () =>
      out === "gated"
        ? device.gatedLinear(result, x, weight, rows, { scratch })
        : device.linear(result, x, weight, rows)
    );
    const seconds = secondsOfRecorded(device, calls);
    const bytes = weightBytes + rows * (2 * inFeatures + width * dtypeBytes(outDtype));
    reportWork(`linear ${name}, ${rows} rows`, { seconds, bytes });
  }
}

function measureNorm(device: Device, { size, rows }: { size: number; rows: number }): void {
  using stack = new DisposableStack();
  const x = tensor(device, stack, [rows, size], "f32");
  const residual = tensor(device, stack, [rows, size], "f32");
  const weight = tensor(device, stack, [size], "f32");
  const out = tensor(device, stack, [rows, size]);
  x.upload(new Float32Array(rows * size));
  residual.upload(new Float32Array(rows * size).fill(1));
  weight.upload(new Float32Array(size).fill(1));
  const calls = Array.from(
    { length: CALLS },
    () => () => device.rmsNorm(out, x, weight, rows, { epsilon: 1e-5, residual }),
  );
  // x and the residual are read, the residual and the result written.
  const bytes = rows * size * (4 + 4 + 4 + 2);
  reportWork(`rmsNorm + residual ${size}, ${rows} rows`, {
    seconds: secondsOfRecorded(device, calls),
    bytes,
  });
}

function measureAttention(device: Device, step: UniformStep, kind: "decode" | "prefill"): void {
  using stack = new DisposableStack();
  const heads = groupedHeads(device, 32, 128);
  const { sequences, tokens, context } = step;
  const rows = sequences * tokens;
  const width = heads.numHeads * heads.headDim;
  const kvBytes = 2 * 2 * sequences * (context + tokens) * heads.numKvHeads * heads.headDim;
  const copies = kind === "decode" ? Math.ceil(ROUND_BYTES / kvBytes) : 1;
  const caches = Array.from({ length: Math.min(copies, CALLS) }, () => {
    const cache = device.kvCache(blocksOf(step), { ...heads, dtype: "bf16" });
    for (const part of [cache.keys, cache.values]) {
      stack.use(part);
      const bytes = part.size * 2;
      for (let start = 0; start < bytes; start += RANDOM.byteLength) {
        const length = Math.min(RANDOM.length, (bytes - start) / 2);
        device.upload(part.address + BigInt(start), RANDOM.subarray(0, length));
      }
    }
    return cache;
  });
  const queries = tensor(device, stack, [rows, width]);
  const out = tensor(device, stack, [rows, width]);
  const batch = uniformBatch(device, step);
  for (const part of Object.values(batch)) stack.use(part);
  stack.use(heads.kvHeadOfHead);
  const counts = { tokens: rows, sequences };
  const seconds = secondsOfRecorded(
    device,
    caches.map((cache) => () => device.pagedAttention(out, queries, cache, batch, counts, heads)),
  );
  const name = `attention ${kind}, ${sequences} x ${context + tokens}`;
  if (kind === "decode") reportWork(name, { seconds, bytes: kvBytes });
  else {
    // Scores and sums over the lower triangle.
    reportWork(name, { seconds, flops: 2 * sequences * tokens ** 2 * width });
  }
}

using device = openCudaDevice();
for (const shape of LINEAR_SHAPES) measureLinear(device, shape);
for (const norm of NORMS) measureNorm(device, norm);
for (const step of DECODE_STEPS) measureAttention(device, step, "decode");
for (const step of PREFILL_STEPS) measureAttention(device, step, "prefill");
