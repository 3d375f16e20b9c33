import { assert, assertEquals, assertThrows } from "@std/assert";
import { openCpuDevice } from "../../src/tensor/cpu/device.ts";
import type { Device } from "../../src/tensor/device.ts";
import type { WeightDType } from "../../src/tensor/dtype.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import { assertClose, hostMatrix, Matrix, rounded, vector } from "../unit/tensor/_matrix.ts";
import { Random } from "../unit/tensor/_random.ts";
import { openTestDevice } from "./_device.ts";
import { assertRounded } from "./_tolerance.ts";

interface Routing {
  readonly weights: Float32Array;
  readonly experts: Int32Array<ArrayBuffer>;
}

function route(
  device: Device,
  logits: Float32Array,
  options: { rows: number; topK: number; normalize: boolean },
): Routing {
  const { rows, topK, normalize } = options;
  const numExperts = logits.length / rows;
  using weights = Tensor.allocate(device, { shape: [rows, topK] });
  using experts = Tensor.allocate(device, { shape: [rows, topK], dtype: "i32" });
  const routerLogits = new Matrix(device, rows, numExperts, { values: logits });
  device.routeExperts(weights, experts, routerLogits.tensor, rows, { numExperts, topK, normalize });
  return {
    weights: weights.download(new Float32Array(rows * topK)),
    experts: experts.download(new Int32Array(rows * topK)),
  };
}

Deno.test("CUDA routeExperts chooses the CPU's experts with its weights", async () => {
  using device = await openTestDevice();
  using cpu = openCpuDevice({ threads: 1 });
  for (const [numExperts, topK] of [[1, 1], [4, 2], [8, 2], [33, 33], [128, 8], [1024, 6]]) {
    for (const normalize of [true, false]) {
      const rows = 7;
      const logits = new Random(numExperts).normals(rows * numExperts, 2);
      const got = route(device, logits, { rows, topK, normalize });
      const want = route(cpu, logits, { rows, topK, normalize });
      assertEquals(got.experts, want.experts);
      assertClose(got.weights, want.weights, 1e-6, `${topK} of ${numExperts}`);
    }
  }
});

Deno.test("CUDA routeExperts gives ties to the lower expert, and NaN no invalid one", async () => {
  using device = await openTestDevice();
  const one = (
    logits: Float32Array,
    topK: number,
  ) => [...route(device, logits, { rows: 1, topK, normalize: true }).experts];
  assertEquals(one(Float32Array.of(1, 2, 2, 2), 2), [1, 2]);
  assertEquals(one(new Float32Array(70), 3), [0, 1, 2]);
  const tied = new Float32Array(70);
  tied[69] = tied[37] = tied[5] = 1;
  assertEquals(one(tied, 2), [5, 37]);
  for (const count of [8, 70]) {
    const experts = one(new Float32Array(count).fill(NaN), 2);
    assertEquals(new Set(experts).size, 2);
    assert(experts.every((expert) => expert >= 0 && expert < count));
  }
});

function sorted(device: Device, experts: Int32Array, numExperts: number) {
  const pairs = experts.length;
  using order = Tensor.allocate(device, { shape: [pairs], dtype: "i32" });
  using offsets = Tensor.allocate(device, { shape: [numExperts + 1], dtype: "i32" });
  const poison = new Int32Array(Math.max(pairs, numExperts + 1)).fill(-7);
  order.upload(poison.subarray(0, pairs));
  offsets.upload(poison.subarray(0, numExperts + 1));
  device.sortByExpert(order, offsets, vector(device, experts), pairs, { numExperts, topK: 1 });
  return {
    order: order.download(new Int32Array(pairs)),
    offsets: offsets.download(new Int32Array(numExperts + 1)),
  };
}

Deno.test("CUDA sortByExpert sorts as the CPU does", async () => {
  using device = await openTestDevice();
  using cpu = openCpuDevice({ threads: 1 });
  for (const [pairs, numExperts] of [[1, 1], [8, 6], [64, 8], [515, 5], [333, 130]]) {
    const random = new Random(pairs);
    const experts = Int32Array.from({ length: pairs }, () => random.below(numExperts));
    assertEquals(sorted(device, experts, numExperts), sorted(cpu, experts, numExperts));
  }
});

Deno.test("CUDA sortByExpert makes a permutation of any memory", async () => {
  using device = await openTestDevice();
  const { order, offsets } = sorted(device, Int32Array.of(2, -1, 3, 2 ** 31 - 1, 0), 3);
  assertEquals([...order], [1, 4, 0, 2, 3]);
  assertEquals([...offsets], [0, 2, 2, 5]);
});

Deno.test("CUDA combineExperts adds the experts of each token", async () => {
  using device = await openTestDevice();
  const random = new Random(21);
  for (const [rows, topK, size, gap] of [[1, 1, 1, 3], [5, 2, 77, 3], [3, 8, 576, 0]]) {
    const pairs = rows * topK;
    const order = random.permutation(pairs);
    const values = random.normals(pairs * size);
    const weights = random.normals(pairs);
    const y = new Matrix(device, pairs, size, { values, gap });
    const out = new Matrix(device, rows, size, { gap });
    const [weightTensor, orderTensor] = [vector(device, weights), vector(device, order)];
    device.combineExperts(out.tensor, y.tensor, weightTensor, orderTensor, rows, { topK, size });
    const want = new Float64Array(rows * size);
    order.forEach((pair, position) => {
      for (let i = 0; i < size; i++) {
        want[Math.floor(pair / topK) * size + i] += weights[pair] * values[position * size + i];
      }
    });
    assertClose(out.read(), want, 1e-5, `${rows} rows of ${size}`);
  }
});

const HIDDEN = 64;
const INTERMEDIATE = 40;
const EXPERTS = 5;
const TOP_K = 2;

/** One projection of random experts: their values as stored, and weights of the device. */
function projection(
  device: Device,
  options: { rows: number; columns: number; dtype: WeightDType; seed: number },
) {
  const { rows, columns, dtype, seed } = options;
  using host = openCpuDevice({ threads: 1 });
  const random = new Random(seed);
  const values = Array.from(
    { length: EXPERTS },
    () => rounded(random.normals(rows * columns, 0.2), dtype),
  );
  const weights = values.map((own) =>
    device.linearWeight([hostMatrix(host, own, { rows, columns, dtype, gap: 0 })], dtype)
  );
  return { values, weights };
}

function product(x: ArrayLike<number>, matrix: Float32Array, columns: number): number[] {
  return Array.from({ length: matrix.length / columns }, (_, row) => {
    let sum = 0;
    for (let i = 0; i < columns; i++) sum += x[i] * matrix[row * columns + i];
    return sum;
  });
}

Deno.test("CUDA groupedLinear multiplies each pair by its expert", async () => {
  using device = await openTestDevice();
  for (const dtype of ["f32", "bf16"] as const) {
    for (const rows of [1, 23]) {
      const pairs = rows * TOP_K;
      const random = new Random(rows);
      const experts = Int32Array.from({ length: pairs }, () => random.below(EXPERTS));
      const { order, offsets } = sorted(device, experts, EXPERTS);
      const [orderTensor, offsetsTensor] = [vector(device, order), vector(device, offsets)];
      const xs = rounded(random.normals(rows * HIDDEN), dtype);
      const up = projection(device, { rows: INTERMEDIATE, columns: HIDDEN, dtype, seed: 1 });
      const down = projection(device, { rows: HIDDEN, columns: INTERMEDIATE, dtype, seed: 2 });

      const x = new Matrix(device, rows, HIDDEN, { values: xs, gap: 0, dtype });
      const middle = new Matrix(device, pairs, INTERMEDIATE, { gap: 0, dtype });
      device.groupedLinear(middle.tensor, x.tensor, up.weights, orderTensor, offsetsTensor, {
        pairs,
        inputDivisor: TOP_K,
      });
      const middles = middle.read();
      const out = new Matrix(device, pairs, HIDDEN, { gap: 0 });
      device.groupedLinear(out.tensor, middle.tensor, down.weights, orderTensor, offsetsTensor, {
        pairs,
        inputDivisor: 0,
      });
      const outs = out.read();

      order.forEach((pair, position) => {
        const expert = experts[pair];
        const token = Math.floor(pair / TOP_K);
        const input = xs.subarray(token * HIDDEN, (token + 1) * HIDDEN);
        const got = middles.subarray(position * INTERMEDIATE, (position + 1) * INTERMEDIATE);
        const what = `${dtype}, ${rows} rows, pair ${pair}`;
        const tolerance = 1e-5;
        assertRounded(got, product(input, up.values[expert], HIDDEN), { dtype, tolerance, what });
        const second = product(got, down.values[expert], INTERMEDIATE);
        const own = outs.subarray(position * HIDDEN, (position + 1) * HIDDEN);
        assertRounded(own, second, { dtype: "f32", tolerance, what });
      });
    }
  }
});

Deno.test("CUDA expert kernels refuse what does not fit", async () => {
  using device = await openTestDevice();
  const floats = vector(device, new Float32Array(8));
  const ints = vector(device, new Int32Array(8));
  const logits = new Matrix(device, 2, 4).tensor;
  const routing = { numExperts: 4, topK: 2, normalize: true };
  for (
    const wrong of [
      () => device.routeExperts(floats, floats, logits, 2, routing),
      () => device.routeExperts(floats, ints, logits, 2, { ...routing, topK: 5 }),
      () => device.routeExperts(floats, ints, logits, 2, { ...routing, numExperts: 1025 }),
      () => device.sortByExpert(ints, ints, floats, 2, routing),
      () => device.sortByExpert(ints, ints, ints, 5, routing),
      () => device.combineExperts(logits, logits, floats, floats, 1, { topK: 2, size: 4 }),
    ]
  ) assertThrows(wrong, RangeError);
});
