import { assert, assertEquals, assertThrows } from "@std/assert";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import type { Device } from "../../../../src/tensor/device.ts";
import { Tensor } from "../../../../src/tensor/tensor.ts";
import { forEachInstructionSet } from "./_instruction_sets.ts";
import { assertClose, assertSameBits, hostMatrix, Matrix, vector } from "../_matrix.ts";
import { Random } from "../_random.ts";

function softmax(logits: readonly number[]): number[] {
  const largest = Math.max(...logits);
  const masses = logits.map((logit) => Math.exp(logit - largest));
  const total = masses.reduce((sum, mass) => sum + mass, 0);
  return masses.map((mass) => mass / total);
}

interface Routing {
  readonly weights: Float32Array;
  readonly experts: Int32Array;
}

function route(
  device: Device,
  logits: Float32Array,
  rows: number,
  topK: number,
  normalize = true,
): Routing {
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

Deno.test("routeExperts takes the largest of the softmax, by expert number", () => {
  using device = openCpuDevice({ threads: 2 });
  for (const [numExperts, topK] of [[1, 1], [4, 2], [8, 2], [17, 3], [128, 8]]) {
    for (const normalize of [true, false]) {
      const rows = 37;
      const logits = new Random(numExperts).normals(rows * numExperts, 2);
      const { weights, experts } = route(device, logits, rows, topK, normalize);
      for (let row = 0; row < rows; row++) {
        const own = [...logits.subarray(row * numExperts, (row + 1) * numExperts)];
        const probabilities = softmax(own);
        const chosen = [...own.keys()].sort((a, b) => own[b] - own[a]).slice(0, topK)
          .sort((a, b) => a - b);
        assertEquals([...experts.subarray(row * topK, (row + 1) * topK)], chosen);
        const sum = chosen.reduce((sum, expert) => sum + probabilities[expert], 0);
        const expected = chosen.map((expert) => probabilities[expert] / (normalize ? sum : 1));
        assertClose(weights.subarray(row * topK, (row + 1) * topK), expected, 1e-6);
      }
    }
  }
});

Deno.test("routeExperts gives ties to the lower expert, and NaN no invalid one", () => {
  using device = openCpuDevice({ threads: 1 });
  assertEquals([...route(device, Float32Array.of(1, 2, 2, 2), 1, 2).experts], [1, 2]);
  assertEquals([...route(device, new Float32Array(20), 1, 3).experts], [0, 1, 2]);
  const { experts } = route(device, new Float32Array(8).fill(NaN), 1, 2);
  assertEquals(new Set(experts).size, 2);
  assert(experts.every((expert) => expert >= 0 && expert < 8));
});

Deno.test("sortByExpert sorts stably and says where each expert's pairs begin", () => {
  using device = openCpuDevice({ threads: 1 });
  const experts = Int32Array.of(3, 1, 1, 5, 3, 0, 1, 3);
  using order = Tensor.allocate(device, { shape: [8], dtype: "i32" });
  using offsets = Tensor.allocate(device, { shape: [7], dtype: "i32" });
  device.sortByExpert(order, offsets, vector(device, experts), 4, { numExperts: 6, topK: 2 });
  assertEquals([...order.download(new Int32Array(8))], [5, 1, 2, 6, 0, 4, 7, 3]);
  assertEquals([...offsets.download(new Int32Array(7))], [0, 1, 4, 4, 7, 7, 8]);
  const wrong = vector(device, Int32Array.of(0, 6));
  assertThrows(
    () => device.sortByExpert(order, offsets, wrong, 1, { numExperts: 6, topK: 2 }),
    RangeError,
    "pair 1 names an expert outside 0..5",
  );
});

const HIDDEN = 48;
const INTERMEDIATE = 33;
const EXPERTS = 5;
const TOP_K = 2;

/** One up and one down product of random experts over `rows` tokens, and what it is made of. */
function mixture(device: Device, rows: number, x: Float32Array, logits: Float32Array) {
  using resources = new DisposableStack();
  const allocate = (shape: number[], dtype: "f32" | "i32" = "f32") =>
    resources.use(Tensor.allocate(device, { shape, dtype }));
  const random = new Random(11);
  const matrices = (rows: number, columns: number) =>
    Array.from({ length: EXPERTS }, () => random.normals(rows * columns, 0.2));
  const load = (all: Float32Array[], rows: number, columns: number, blockSize = 0) =>
    all.map((values) =>
      resources.use(
        device.linearWeight([hostMatrix(device, values, { rows, columns, dtype: "f32" })], "f32", {
          blockSize,
        }),
      )
    );
  const up = matrices(INTERMEDIATE, HIDDEN);
  const down = matrices(HIDDEN, INTERMEDIATE);
  const upWeights = load(up, INTERMEDIATE, HIDDEN, 6);
  const downWeights = load(down, HIDDEN, INTERMEDIATE);

  const pairs = rows * TOP_K;
  const weights = allocate([rows, TOP_K]);
  const experts = allocate([rows, TOP_K], "i32");
  const order = allocate([pairs], "i32");
  const offsets = allocate([EXPERTS + 1], "i32");
  const routing = { numExperts: EXPERTS, topK: TOP_K, normalize: true };
  const routerLogits = new Matrix(device, rows, EXPERTS, { values: logits }).tensor;
  device.routeExperts(weights, experts, routerLogits, rows, routing);
  device.sortByExpert(order, offsets, experts, rows, routing);
  const input = new Matrix(device, rows, HIDDEN, { values: x });
  const middle = new Matrix(device, pairs, INTERMEDIATE);
  const output = new Matrix(device, pairs, HIDDEN);
  const combined = new Matrix(device, rows, HIDDEN);
  device.groupedLinear(middle.tensor, input.tensor, upWeights, order, offsets, {
    pairs,
    inputDivisor: TOP_K,
  });
  device.groupedLinear(output.tensor, middle.tensor, downWeights, order, offsets, {
    pairs,
    inputDivisor: 0,
  });
  device.combineExperts(combined.tensor, output.tensor, weights, order, rows, {
    topK: TOP_K,
    size: HIDDEN,
  });

  // The first product of the first pair, by the plain kernel.
  const plain = new Matrix(device, 1, INTERMEDIATE);
  const pairOrder = order.download(new Int32Array(pairs));
  const pairExperts = experts.download(new Int32Array(pairs));
  const plainRows = Array.from(pairOrder, (pair) => {
    const token = Math.floor(pair / TOP_K);
    const row = new Matrix(device, 1, HIDDEN, {
      values: x.subarray(token * HIDDEN, (token + 1) * HIDDEN),
    });
    const weight = upWeights[pairExperts[pair]];
    device.linear(plain.tensor, row.tensor, weight, 1);
    return plain.read();
  });
  return { up, down, middle: middle.read(), combined: combined.read(), plainRows };
}

Deno.test("groupedLinear and combineExperts agree with float64, token by token", () => {
  using device = openCpuDevice({ threads: 2 });
  const rows = 23;
  const random = new Random(12);
  const x = random.normals(rows * HIDDEN);
  const logits = random.normals(rows * EXPERTS);
  const { up, down, combined } = mixture(device, rows, x, logits);
  const multiply = (matrix: Float32Array, vector: number[]) =>
    Array.from(
      { length: matrix.length / vector.length },
      (_, row) =>
        vector.reduce((sum, value, i) => sum + value * matrix[row * vector.length + i], 0),
    );

  for (let row = 0; row < rows; row++) {
    const own = [...logits.subarray(row * EXPERTS, (row + 1) * EXPERTS)];
    const chosen = [...own.keys()].sort((a, b) => own[b] - own[a]).slice(0, TOP_K);
    const shares = softmax(chosen.map((expert) => own[expert]));
    const expected = new Array(HIDDEN).fill(0);
    chosen.forEach((expert, i) => {
      const middle = multiply(up[expert], [...x.subarray(row * HIDDEN, (row + 1) * HIDDEN)]);
      multiply(down[expert], middle).forEach((y, d) => expected[d] += shares[i] * y);
    });
    assertClose(combined.subarray(row * HIDDEN, (row + 1) * HIDDEN), expected, 1e-5, `row ${row}`);
  }
});

Deno.test("a token's mixture has the same bits alone, in any batch and with any threads", () => {
  using one = openCpuDevice({ threads: 1 });
  using three = openCpuDevice({ threads: 3 });
  const rows = 70;
  const random = new Random(13);
  const x = random.normals(rows * HIDDEN);
  const logits = random.normals(rows * EXPERTS);
  const all = mixture(three, rows, x, logits);
  all.plainRows.forEach((plain, pair) => {
    const grouped = all.middle.subarray(pair * INTERMEDIATE, (pair + 1) * INTERMEDIATE);
    assertSameBits(grouped, plain, `pair ${pair}`);
  });
  for (let row = 0; row < rows; row += 9) {
    const alone = mixture(
      one,
      1,
      x.subarray(row * HIDDEN, (row + 1) * HIDDEN),
      logits.subarray(row * EXPERTS, (row + 1) * EXPERTS),
    );
    assertSameBits(all.combined.subarray(row * HIDDEN, (row + 1) * HIDDEN), alone.combined);
  }
});

Deno.test("a mixture has the same bits on every instruction set", () => {
  using native = openCpuDevice({ threads: 1 });
  const rows = 12;
  const x = new Random(14).normals(rows * HIDDEN);
  const logits = new Random(15).normals(rows * EXPERTS);
  const expected = mixture(native, rows, x, logits);
  forEachInstructionSet({ threads: 1 }, (device, set) => {
    assertSameBits(mixture(device, rows, x, logits).combined, expected.combined, set);
  });
});

Deno.test("groupedLinear refuses experts of different shapes", () => {
  using device = openCpuDevice({ threads: 1 });
  const weight = (rows: number) =>
    device.linearWeight([
      hostMatrix(device, new Float32Array(rows * 2), { rows, columns: 2, dtype: "f32" }),
    ], "f32");
  using a = weight(3);
  using b = weight(4);
  const x = new Matrix(device, 1, 2).tensor;
  const indices = vector(device, Int32Array.of(0, 0, 1));
  assertThrows(
    () => device.groupedLinear(x, x, [a, b], indices, indices, { pairs: 1, inputDivisor: 0 }),
    RangeError,
    "expert 1 differs in shape or format from f32 [3, 2]: it is f32 [4, 2]",
  );
});
