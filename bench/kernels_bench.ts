/**
 * Speed of the CPU kernels at the shapes of SmolLM-135M and Llama-3.2-1B, and their shares of what the
 * machine reads and computes at most, measured beside each: `deno bench -A bench/kernels_bench.ts`.
 * @module
 */
import { openCpuDevice } from "../src/tensor/cpu/device.ts";
import { quantizedLayout } from "../src/tensor/cpu/quantized_layout.ts";
import type { Device } from "../src/tensor/device.ts";
import type { LinearWeight } from "../src/tensor/linear_kernels.ts";
import { dtypeBytes } from "../src/tensor/dtype.ts";
import { Tensor } from "../src/tensor/tensor.ts";
import { measure, type Work } from "./_measure.ts";
import { type Ceilings, measureCeilings } from "./versus/ceilings.ts";

/** Bytes of weights to go round in, more than any cache holds. */
const ROUND_BYTES = 256 * 2 ** 20;

/** Rows, columns, and the blocks that row-parallel layers cut the columns into. */
const LINEAR_SHAPES = [
  { model: "135M gate, up", rows: 3072, columns: 576, blocks: 1 },
  { model: "135M down", rows: 576, columns: 1536, blocks: 8 },
  { model: "1B gate, up", rows: 16384, columns: 2048, blocks: 1 },
  { model: "1B down", rows: 2048, columns: 8192, blocks: 8 },
];

function filled(device: Device, rows: number, columns: number): Tensor {
  const tensor = Tensor.allocate(device, { shape: [rows, columns] });
  tensor.upload(Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i)));
  return tensor;
}

/** A weight as it is benchmarked: its type, and whether it stays rows, is packed or is quantised. */
interface LinearForm {
  readonly form: string;
  readonly dtype: "f32" | "bf16";
  readonly use: "product" | "table";
  readonly quantization?: "int8" | "int4";
}

const LINEAR_FORMS: readonly LinearForm[] = [
  { form: "f32 rows", dtype: "f32", use: "product" },
  { form: "bf16 rows", dtype: "bf16", use: "table" },
  { form: "bf16 panels", dtype: "bf16", use: "product" },
  { form: "int8 panels", dtype: "bf16", use: "product", quantization: "int8" },
  { form: "int4 panels", dtype: "bf16", use: "product", quantization: "int4" },
];

interface LinearShape {
  readonly rows: number;
  readonly columns: number;
  readonly blockSize: number;
}

/** Bytes that a product reads of a weight: elements, and the scales and zeros of integers. */
function storedBytes(
  { dtype, quantization }: LinearForm,
  { rows, columns, blockSize }: LinearShape,
): number {
  if (quantization === undefined) return rows * columns * dtypeBytes(dtype);
  const bits = quantization === "int8" ? 8 : 4;
  const { units, segments } = quantizedLayout({ bits, columns, blockSize, groups: null });
  // A unit has 4 bytes of an output. Scales are f32, or f16 with a zero of one byte.
  return rows * (4 * units + segments.length * (bits === 8 ? 4 : 3));
}

/** `copies` weights of the same values, each in its own memory. */
function weights(
  device: Device,
  { rows, columns, blockSize }: LinearShape,
  { dtype, use, quantization }: LinearForm,
  copies: number,
): LinearWeight[] {
  using source = filled(device, rows, columns);
  return Array.from({ length: copies }, () => {
    const part = {
      address: source.address,
      dtype: "f32" as const,
      rows,
      columns,
      rowStride: columns,
    };
    if (dtype !== "f32") {
      return device.linearWeight([part], dtype, { blockSize, use, quantization });
    }
    const address = device.allocate(rows * columns * dtypeBytes(dtype));
    device.copy(address, source.address, rows * columns * 4);
    return device.linearWeight([{ ...part, address }], dtype, { blockSize, use });
  });
}

/** What the machine moves and computes in a second at most, with the instructions of a form. */
function limitsOf(
  { readBandwidth, peaks }: Ceilings,
  { form, quantization }: LinearForm,
): Work | undefined {
  const bf16 = form === "bf16 panels" ? peaks.amxBf16 ?? peaks.bf16Dot : undefined;
  const int8 = quantization === undefined ? undefined : peaks.amxInt8 ?? peaks.int8Dot;
  const flops = int8 ?? bf16 ?? peaks.fma;
  return flops === undefined ? undefined : { bytes: readBandwidth, flops };
}

async function benchLinear(threads: number): Promise<void> {
  for (const { model, rows, columns, blocks } of LINEAR_SHAPES) {
    for (const form of LINEAR_FORMS) {
      using device = openCpuDevice({ threads });
      const shape = { rows, columns, blockSize: columns / blocks };
      const bytes = storedBytes(form, shape);
      const count = Math.ceil(ROUND_BYTES / bytes);
      const copies = weights(device, shape, form, count);
      const ceilings = await measureCeilings(threads);
      for (const tokens of [1, 16, 512]) {
        const x = filled(device, tokens, columns);
        const out = Tensor.allocate(device, { shape: [tokens, rows] });
        let call = 0;
        measure(
          `linear ${model} ${form.form}, ${tokens} tokens, ${threads} threads`,
          { bytes, flops: 2 * rows * columns * tokens },
          () => {
            const weight = copies[call++ % copies.length];
            device.linear(out, x, weight, tokens);
          },
          limitsOf(ceilings, form),
        );
      }
    }
  }
}

function benchRows(threads: number): void {
  using device = openCpuDevice({ threads });
  for (const [rows, size] of [[1, 2048], [512, 576], [512, 2048]]) {
    const [x, residual, out] = [0, 1, 2].map(() => filled(device, rows, size));
    const weight = filled(device, 1, size);
    const vector = Tensor.view(device, weight.address, { shape: [size] });
    const label = `${rows} x ${size}, ${threads} threads`;
    const bytes = rows * size * 4;
    measure(`rmsNorm ${label}`, { bytes: 2 * bytes, flops: 4 * rows * size }, () => {
      device.rmsNorm(out, x, vector, rows, { epsilon: 1e-5 });
    });
    // The sum would grow without end: the values do not matter to the time, infinities would not either.
    measure(`rmsNorm + residual ${label}`, { bytes: 4 * bytes, flops: 5 * rows * size }, () => {
      device.rmsNorm(out, x, vector, rows, { epsilon: 1e-5, residual });
    });
    measure(`layerNorm ${label}`, { bytes: 2 * bytes, flops: 7 * rows * size }, () => {
      device.layerNorm(out, x, vector, vector, rows, { epsilon: 1e-5 });
    });
    const both = filled(device, rows, 2 * size);
    measure(`siluAndMul ${label}`, { bytes: 3 * bytes, flops: 25 * rows * size }, () => {
      device.siluAndMul(out, both, rows, size);
    });
  }
}

for (const threads of new Set([1, navigator.hardwareConcurrency])) {
  await benchLinear(threads);
  benchRows(threads);
}
