/**
 * Speed of sampling at a vocabulary of 151,936 tokens: `deno bench -A bench/sampling_bench.ts`.
 * @module
 */
import { openCpuDevice } from "../src/tensor/cpu/device.ts";
import { orderedKey } from "../src/tensor/ordered_key.ts";
import { Tensor } from "../src/tensor/tensor.ts";
import { measure } from "./_measure.ts";

const VOCABULARY = 151_936;
const ROWS = 8;

function benchSampling(threads: number): void {
  using device = openCpuDevice({ threads });
  const f32 = (length: number, value: (index: number) => number, shape = [length]) => {
    const tensor = Tensor.allocate(device, { shape });
    tensor.upload(Float32Array.from({ length }, (_, i) => value(i)));
    return tensor;
  };
  const i32 = (length: number, value: (index: number) => number, shape = [length]) => {
    const tensor = Tensor.allocate(device, { shape, dtype: "i32" });
    tensor.upload(Int32Array.from({ length }, (_, i) => value(i)));
    return tensor;
  };
  // The sines of large steps: spread over [-15, 15] in no order.
  const logits = f32(ROWS * VOCABULARY, (i) => 15 * Math.sin(i * i), [ROWS, VOCABULARY]);
  const values = f32(ROWS * 20, () => 0);
  const ids = i32(ROWS * 20, () => 0);
  const stats = f32(ROWS * 2, () => 0);
  const histogram = Tensor.allocate(device, { shape: [ROWS, 256], dtype: "f64" });
  const thresholds = f32(ROWS, () => -Infinity);
  const seeds = i32(ROWS * 2, (i) => i, [ROWS, 2]);
  const zeros = i32(ROWS, () => 0);
  const size = VOCABULARY;
  const run = (name: string, call: () => void) =>
    measure(
      `${name}, ${ROWS} rows, ${threads} threads`,
      { bytes: ROWS * size * 4, flops: 0 },
      call,
    );

  for (const temperature of [0, 1]) {
    const temperatures = f32(ROWS, () => temperature);
    run(
      `gumbelArgmax at temperature ${temperature}`,
      () =>
        device.gumbelArgmax(values, ids, logits, ROWS, {
          temperatures,
          seeds,
          choices: zeros,
          positions: zeros,
          thresholds,
          size,
          firstId: 0,
        }),
    );
  }
  run("logSumExp", () => device.logSumExp(stats, logits, ROWS, { size, blockSize: size / 8 }));
  run("topK 20", () => device.topK(values, ids, logits, ROWS, { size, k: 20, firstId: 0 }));
  const maxima = f32(ROWS * 2, () => 15);
  const temperatures = f32(ROWS, () => 1);
  const prefixes = i32(ROWS, () => orderedKey(14.9) | 0);
  const shares = Tensor.allocate(device, { shape: [ROWS], dtype: "f64" });
  shares.upload(new Float64Array(ROWS).fill(0.5));
  for (const kind of ["count", "mass"] as const) {
    for (const round of [0, 1]) {
      run(
        `logitHistogram by ${kind}, round ${round}`,
        () =>
          device.logitHistogram(histogram, logits, ROWS, {
            size,
            round,
            kind,
            shares,
            prefixes,
            thresholds,
            stats: maxima,
            temperatures,
          }),
      );
    }
  }
}

for (const threads of new Set([1, navigator.hardwareConcurrency])) benchSampling(threads);
