import type { Device } from "../../../src/tensor/device.ts";
import { Tensor } from "../../../src/tensor/tensor.ts";
import { Matrix, vector } from "./_matrix.ts";

/** What a row of a histogram is filled by. */
export interface HistogramRow {
  readonly share: number;
  readonly prefix: number;
  readonly threshold: number;
  readonly maximum: number;
  readonly temperature: number;
}

/** The histograms of `values`, `[rows, size]`. */
export function histogram(
  device: Device,
  values: Float32Array,
  rows: readonly HistogramRow[],
  search: { round: number; kind: "count" | "mass" },
): Float64Array {
  const size = values.length / rows.length;
  using out = Tensor.allocate(device, { shape: [rows.length, 256], dtype: "f64" });
  out.upload(new Float64Array(rows.length * 256).fill(NaN));
  device.logitHistogram(
    out,
    new Matrix(device, rows.length, size, { values }).tensor,
    rows.length,
    {
      ...search,
      size,
      shares: vector(device, Float64Array.from(rows, (row) => row.share)),
      prefixes: vector(device, Int32Array.from(rows, (row) => row.prefix)),
      thresholds: vector(device, Float32Array.from(rows, (row) => row.threshold)),
      stats: vector(device, Float32Array.from(rows.flatMap((row) => [row.maximum, NaN]))),
      temperatures: vector(device, Float32Array.from(rows, (row) => row.temperature)),
    },
  );
  return out.download(new Float64Array(rows.length * 256));
}

/** The threshold that four rounds of both kernels raise each row of equal `logits` to. */
export function searchThresholds(
  device: Device,
  logits: Float32Array,
  shares: readonly number[],
  options: { kind: "count" | "mass"; threshold?: number; temperature?: number },
): Float32Array {
  const { kind, threshold = -Infinity, temperature = 1 } = options;
  const count = shares.length;
  const size = logits.length;
  const maximum = logits.reduce((max, x) => x > max ? x : max, -Infinity);
  const thresholds = vector(device, new Float32Array(count).fill(threshold));
  const bins = Tensor.allocate(device, { shape: [count, 256], dtype: "f64" });
  const common = {
    kind,
    shares: vector(device, Float64Array.from(shares)),
    prefixes: vector(device, new Int32Array(count).fill(-1)),
    targets: vector(device, new Float64Array(count).fill(NaN)),
    above: vector(device, new Float64Array(count).fill(NaN)),
    thresholds,
    stats: vector(device, Float32Array.from({ length: 2 * count }, () => maximum)),
    temperatures: vector(device, new Float32Array(count).fill(temperature)),
  };
  const x = new Matrix(device, count, size, {
    values: Float32Array.from({ length: count * size }, (_, i) => logits[i % size]),
  });
  for (let round = 0; round < 4; round++) {
    device.logitHistogram(bins, x.tensor, count, { ...common, round, size });
    device.narrowThresholds(thresholds, bins, count, { ...common, round });
  }
  return thresholds.download(new Float32Array(count));
}
