/**
 * The WebAssembly kernels against the native ones: products of one shape in every format, in turns, and
 * the median of the ratios. `deno run -A bench/wasm_bench.ts [THREADS]`
 */
import { openCpuDevice } from "../src/tensor/cpu/device.ts";
import { openWasmDevice } from "../src/tensor/cpu/wasm_device.ts";
import type { Device } from "../src/tensor/device.ts";
import type { WeightDType } from "../src/tensor/dtype.ts";
import { Tensor } from "../src/tensor/tensor.ts";

const [OUTPUTS, INPUTS] = [8192, 2048];
const ROUNDS = 9;

interface Case {
  readonly name: string;
  readonly format: WeightDType;
  readonly quantization?: "int8" | "int4";
}

const CASES: readonly Case[] = [
  { name: "f32", format: "f32" },
  { name: "bf16", format: "bf16" },
  { name: "int8", format: "bf16", quantization: "int8" },
  { name: "int4", format: "bf16", quantization: "int4" },
];

/** A product on a device, ready to be run again and again. */
function prepare(
  device: Device,
  { format, quantization }: Case,
  rows: number,
): Disposable & { run(): number } {
  const stored = Float32Array.from({ length: OUTPUTS * INPUTS }, (_, i) => Math.sin(i) / 50);
  const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(stored));
  const part = {
    address,
    dtype: "f32" as const,
    rows: OUTPUTS,
    columns: INPUTS,
    rowStride: INPUTS,
  };
  const weight = device.linearWeight([part], format, { blockSize: INPUTS / 8, quantization });
  const x = Tensor.allocate(device, { shape: [rows, INPUTS] });
  const out = Tensor.allocate(device, { shape: [rows, OUTPUTS] });
  x.upload(Float32Array.from({ length: rows * INPUTS }, (_, i) => Math.cos(i)));
  return {
    run() {
      const start = performance.now();
      device.linear(out, x, weight, rows);
      // Reads the weight's owner, so that it is kept: f32 stays where it was stored.
      return performance.now() - start + 0 * stored[0];
    },
    [Symbol.dispose]() {
      for (const part of [weight, x, out]) part[Symbol.dispose]();
    },
  };
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1];
}

const threads = Number(Deno.args[0] ?? navigator.hardwareConcurrency);
using native = openCpuDevice({ threads });
using wasm = openWasmDevice({ threads });
console.log(`${native.description.instructionSet}, ${threads} threads: ms, then wasm / native`);
for (const rows of [1, 64]) {
  for (const entry of CASES) {
    using first = prepare(native, entry, rows);
    using second = prepare(wasm, entry, rows);
    const pairs = Array.from({ length: ROUNDS + 2 }, () => [first.run(), second.run()] as const)
      .slice(2);
    const milliseconds = [0, 1].map((i) => median(pairs.map((pair) => pair[i])).toFixed(2));
    const ratio = median(pairs.map(([a, b]) => b / a));
    console.log(
      `${entry.name.padEnd(5)} rows ${String(rows).padEnd(3)} ${milliseconds.join(" / ")}  x${
        ratio.toFixed(2)
      }`,
    );
  }
}
