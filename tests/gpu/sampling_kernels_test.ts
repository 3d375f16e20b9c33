import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { openCpuDevice } from "../../src/tensor/cpu/device.ts";
import type { Device } from "../../src/tensor/device.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { draw, noiseOf, randomRow, ROW } from "../unit/tensor/_gumbel.ts";
import { checkAdjustments, checkMasks } from "../unit/tensor/_logit_adjustments.ts";
import { Matrix, vector } from "../unit/tensor/_matrix.ts";
import { Random } from "../unit/tensor/_random.ts";
import { histogram, searchThresholds } from "../unit/tensor/_thresholds.ts";
import { openTestDevice } from "./_device.ts";

/** Of one part of a row, of several with an odd end, and small ones. */
const SIZES = [1, 3, 255, 1003, 4097, 9001];

function poisoned(device: Device, length: number, dtype: "f32" | "i32" = "f32"): Tensor {
  const values = new Uint32Array(length).fill(0x7fc0dead);
  return vector(
    device,
    dtype === "f32" ? new Float32Array(values.buffer) : new Int32Array(values.buffer),
  );
}

Deno.test("CUDA: gumbelArgmax adds the noise of the CPU", async () => {
  using device = await openTestDevice();
  const random = new Random(1);
  const rows = Array.from({ length: 40 }, () => randomRow(random));
  const ids = rows.map((_, i) => i < 12 ? i : random.below(2 ** 31 - 2));
  for (const [i, row] of rows.entries()) {
    // A shard of one token: its value is its own noise.
    const { values, ids: [id] } = draw(device, new Float32Array(1), [row], { firstId: ids[i] });
    assertEquals(id, ids[i]);
    assertLess(Math.abs(values[0] - noiseOf(row, id)), 3e-6, `id ${id}`);
  }
});

Deno.test("CUDA: gumbelArgmax draws what the CPU draws, wherever the shard begins", async () => {
  using device = await openTestDevice();
  using cpu = openCpuDevice({ threads: 1 });
  const random = new Random(2);
  for (const size of SIZES) {
    for (const firstId of [0, 1, 1006]) {
      const rows = [0, 0.1, 1, 3].map((temperature, i) => ({
        ...randomRow(random),
        temperature,
        threshold: i === 2 ? 0.5 : -Infinity,
      }));
      const logits = random.normals(rows.length * size, 3).map((x) => Math.round(x * 32) / 32);
      const actual = draw(device, logits, rows, { firstId });
      const expected = draw(cpu, logits, rows, { firstId });
      assertEquals(actual.ids, expected.ids, `${size} from ${firstId}`);
      actual.values.forEach((value, i) => {
        const difference = Math.abs(value - expected.values[i]);
        assert(value === expected.values[i] || difference < 1e-6 * Math.max(8, Math.abs(value)));
      });
    }
  }
});

Deno.test("CUDA: gumbelArgmax takes the lower id of equals, and no NaN", async () => {
  using device = await openTestDevice();
  const greedy = { ...ROW, temperature: 0 };
  for (const [low, high] of [[5, 6], [127, 128], [70, 5000], [4095, 4096]]) {
    const logits = new Random(low).normals(9001).map((x) => Math.min(x, 2));
    logits[low] = logits[high] = 3;
    logits[high + 1] = NaN;
    const { values, ids } = draw(device, logits, [greedy], { firstId: 77 });
    assertEquals([values[0], ids[0]], [3, 77 + low]);
  }
  for (const temperature of [0, 1]) {
    for (const bad of [NaN, -Infinity]) {
      const logits = new Float32Array(5000).fill(bad);
      const row = { ...ROW, temperature };
      const none = draw(device, logits, [row], { firstId: 30 });
      assertEquals([none.values[0], none.ids[0]], [-Infinity, 30]);
      logits[4999] = -5;
      assertEquals(draw(device, logits, [row], { firstId: 30 }).ids[0], 5029);
    }
  }
});

Deno.test("CUDA: mergeDraws takes the best value, of equals the first part's", async () => {
  using device = await openTestDevice();
  const values = [[1, 5, -Infinity, -7], [2, 5, -Infinity, -Infinity], [2, 4, -Infinity, -6]];
  const draws = values.flatMap((row, part) => [
    ...new Int32Array(Float32Array.from(row).buffer),
    ...row.map((_, i) => 100 * part + i),
  ]);
  const tokens = poisoned(device, 4, "i32");
  device.mergeDraws(tokens, vector(device, Int32Array.from(draws)), 4, 3);
  assertEquals([...tokens.download(new Int32Array(4))], [100, 1, 2, 203]);
});

Deno.test("CUDA: topK sorts as a stable descending sort does", async () => {
  using device = await openTestDevice();
  const random = new Random(3);
  for (const size of SIZES) {
    // Few distinct values, so that there are ties; NaN counts as -Infinity.
    const x = Float32Array.from({ length: 2 * size }, () => random.below(60) - 20);
    if (size > 3) x[2] = NaN;
    const rows = [0, 1].map((row) =>
      x.subarray(row * size, (row + 1) * size).map((value) => value === value ? value : -Infinity)
    );
    for (const k of [1, 5, 20, 32].filter((k) => k <= size)) {
      const [values, ids] = [poisoned(device, 2 * k), poisoned(device, 2 * k, "i32")];
      const logits = new Matrix(device, 2, size, { values: x }).tensor;
      device.topK(values, ids, logits, 2, { size, k, firstId: 1000 });
      const orders = rows.map((row) =>
        [...row.keys()].sort((a, b) => row[a] === row[b] ? a - b : row[b] - row[a]).slice(0, k)
      );
      assertEquals(
        [...ids.download(new Int32Array(2 * k))],
        orders.flatMap((order) => order.map((id) => id + 1000)),
        `${k} of ${size}`,
      );
      assertEquals(
        [...values.download(new Float32Array(2 * k))],
        orders.flatMap((order, row) => order.map((id) => rows[row][id])),
      );
    }
  }
});

Deno.test("CUDA: topK keeps -Infinity apart from nothing, and refuses what it can't find", async () => {
  using device = await openTestDevice();
  const x = new Matrix(device, 1, 40, { values: new Float32Array(40).fill(-Infinity) }).tensor;
  const [values, ids] = [poisoned(device, 40), poisoned(device, 40, "i32")];
  device.topK(values, ids, x, 1, { size: 40, k: 32, firstId: 8 });
  assertEquals([...ids.download(new Int32Array(32))], Array.from({ length: 32 }, (_, i) => 8 + i));
  assertThrows(
    () => device.topK(values, ids, x, 1, { size: 40, k: 33, firstId: 0 }),
    RangeError,
    "k must be at most 32",
  );
});

Deno.test("CUDA: logSumExp agrees with float64, whatever the other rows", async () => {
  using device = await openTestDevice();
  for (const size of SIZES) {
    const rows = 3;
    const values = new Random(size).normals(rows * size, 4);
    values.fill(-Infinity, size, 2 * size);
    if (size > 100) values[2 * size + 7] = NaN;
    const logits = new Matrix(device, rows, size, { values }).tensor;
    const stats = poisoned(device, 2 * rows);
    device.logSumExp(stats, logits, rows, { size, blockSize: size });
    const all = stats.download(new Float32Array(2 * rows));
    for (const row of [0, 2]) {
      const numbers = [...values.subarray(row * size, (row + 1) * size)].filter((x) => x === x);
      const maximum = Math.max(...numbers);
      const sum = numbers.reduce((sum, x) => sum + Math.exp(x - maximum), 0);
      assertEquals(all[2 * row], maximum);
      assertLess(Math.abs(all[2 * row + 1] / sum - 1), 1e-6);
    }
    assertEquals([...all.subarray(2, 4)], [-Infinity, 0]);
    const own = new Matrix(device, 1, size, { values: values.slice(0, size) }).tensor;
    device.logSumExp(stats, own, 1, { size, blockSize: size });
    assertEquals(stats.download(new Float32Array(2)), all.slice(0, 2));
  }
});

Deno.test("CUDA: mergeLogSumExp continues the sum over ranks", async () => {
  using device = await openTestDevice();
  // [parts][rows][maximum, sum]
  const gathered = Float32Array.of(1, 2, -Infinity, 0, 3, 1, -Infinity, 0, -Infinity, 0, 5, 2);
  const stats = poisoned(device, 4);
  device.mergeLogSumExp(stats, vector(device, gathered), 2, 3);
  const [maximum, sum, none, one] = stats.download(new Float32Array(4));
  assertEquals([maximum, none, one], [3, 5, 2]);
  assertLess(Math.abs(sum - (1 + 2 * Math.exp(-2))), 1e-6);
});

Deno.test("CUDA: logitHistogram fills as the CPU does", async () => {
  using device = await openTestDevice();
  using cpu = openCpuDevice({ threads: 1 });
  const special = [0, -0, 1e-40, -1e-40, Infinity, -Infinity, 3.4e38, NaN];
  for (const size of [301, 9001]) {
    const logits = Float32Array.from([...new Random(4).normals(size, 3), ...special]);
    const twice = new Float32Array([...logits, ...logits, ...logits]);
    const rows = [
      { share: 0.5, prefix: 0xc0400000, threshold: -2, maximum: 11, temperature: 0.7 },
      { share: 0, prefix: 0, threshold: -Infinity, maximum: 11, temperature: 0 },
      { share: 3, prefix: 0x3f800000, threshold: -Infinity, maximum: 9, temperature: 2 },
    ];
    for (let round = 0; round < 4; round++) {
      const counts = histogram(device, twice, rows, { round, kind: "count" });
      assertEquals(counts, histogram(cpu, twice, rows, { round, kind: "count" }));
      const masses = histogram(device, twice, rows, { round, kind: "mass" });
      const expected = histogram(cpu, twice, rows, { round, kind: "mass" });
      masses.forEach((mass, i) => {
        assert(Number.isInteger(mass));
        // exp differs by some last bits, so of small masses few floors do.
        assertLess(Math.abs(mass - expected[i]), 1 + 0.1 * counts[i] + 1e-6 * expected[i]);
      });
    }
  }
});

Deno.test("CUDA: histograms add up over shards exactly", async () => {
  using device = await openTestDevice();
  const logits = new Random(5).normals(9001, 3);
  const rows = [{ share: 1, prefix: 0, threshold: -4, maximum: 13, temperature: 1.3 }];
  const search = { round: 0, kind: "mass" } as const;
  const sum = new Float64Array(256);
  for (const [begin, end] of [[0, 333], [333, 334], [334, 9001]]) {
    const part = histogram(device, logits.subarray(begin, end), rows, search);
    part.forEach((mass, i) => sum[i] += mass);
  }
  assertEquals(sum, histogram(device, logits, rows, search));
});

Deno.test("CUDA: four rounds find the thresholds of the CPU", async () => {
  using device = await openTestDevice();
  using cpu = openCpuDevice({ threads: 1 });
  for (const size of [500, 5003]) {
    const logits = new Random(6).normals(size, 3);
    logits[20] = NaN;
    logits[30] = -0;
    const ks = [1, 2, 40, size - 1, 0, size, 10 * size];
    for (const threshold of [-Infinity, 0]) {
      const counts = { kind: "count", threshold } as const;
      assertEquals(
        searchThresholds(device, logits, ks, counts),
        searchThresholds(cpu, logits, ks, counts),
      );
      // No share of these is reached within the rounding of a mass.
      const masses = { kind: "mass", threshold, temperature: 0.8 } as const;
      const shares = [0.1, 0.5, 0.9, 0.99, 0];
      assertEquals(
        searchThresholds(device, logits, shares, masses),
        searchThresholds(cpu, logits, shares, masses),
      );
    }
  }
});

Deno.test("CUDA: narrowThresholds leaves the state that the CPU leaves", async () => {
  using device = await openTestDevice();
  using cpu = openCpuDevice({ threads: 1 });
  const random = new Random(7);
  const count = 6;
  for (const kind of ["count", "mass"] as const) {
    for (let round = 0; round < 4; round++) {
      // Rows: early and late, more than there is, exactly all, passed over, nothing there.
      const bins = Float64Array.from(
        { length: count * 256 },
        (_, i) => i < 5 * 256 && random.below(3) > 0 ? random.below(2 ** 30) : 0,
      );
      const total = bins.subarray(3 * 256, 4 * 256).reduce((sum, bin) => sum + bin);
      const state = (device: Device) => ({
        thresholds: vector(device, Float32Array.of(-Infinity, 2, -Infinity, 1e30, 5, -1)),
        shares: vector(
          device,
          Float64Array.of(0.01, 0.7, 1e15, kind === "count" ? total : 1, 0, 0.5),
        ),
        prefixes: vector(device, new Int32Array(count).fill(0xc1230000 | 0)),
        targets: vector(device, Float64Array.of(1, 2 ** 36, 1e15, total + 12, 7, 3)),
        above: vector(device, new Float64Array(count).fill(12)),
      });
      const [actual, expected] = [device, cpu].map((device) => {
        const { thresholds, shares, prefixes, targets, above } = state(device);
        device.narrowThresholds(thresholds, vector(device, bins), count, {
          round,
          kind,
          shares,
          prefixes,
          targets,
          above,
        });
        return {
          thresholds: thresholds.download(new Float32Array(count)),
          prefixes: prefixes.download(new Int32Array(count)),
          targets: targets.download(new Float64Array(count)),
          above: above.download(new Float64Array(count)),
        };
      });
      assertEquals(actual, expected, `${kind}, round ${round}`);
    }
  }
});

Deno.test("CUDA: minPThresholds rounds maximum + offset once; no offset lets all in", async () => {
  using device = await openTestDevice();
  const maxima = [3, -1e30, Infinity, -Infinity, 5.5];
  const offsets = [-0.1, -7, -Infinity, -1, -Infinity];
  const thresholds = poisoned(device, 5);
  const stats = vector(device, Float32Array.from(maxima.flatMap((maximum) => [maximum, NaN])));
  device.minPThresholds(thresholds, stats, vector(device, Float64Array.from(offsets)), 5);
  assertEquals(
    [...thresholds.download(new Float32Array(5))],
    [Math.fround(2.9), Math.fround(-1e30), -Infinity, -Infinity, -Infinity],
  );
});

Deno.test("CUDA: gatherLogits takes an id's logit, or -Infinity outside the shard", async () => {
  using device = await openTestDevice();
  const values = Float32Array.from({ length: 12 }, (_, i) => i);
  const logits = new Matrix(device, 4, 3, { values }).tensor;
  const taken = poisoned(device, 4);
  const ids = vector(device, Int32Array.of(10, 12, 9, 13));
  device.gatherLogits(taken, logits, ids, 4, { size: 3, firstId: 10 });
  assertEquals([...taken.download(new Float32Array(4))], [0, 5, -Infinity, -Infinity]);
});

Deno.test("CUDA: tokens go to their slots and come back; what has no slot is passed over", async () => {
  using device = await openTestDevice();
  const slots = vector(device, Int32Array.of(10, 11, 12, 13, 14));
  const tokens = vector(device, Int32Array.of(70, 71, 72, 73));
  device.scatterTokens(slots, tokens, vector(device, Int32Array.of(4, -1, 0, 5)), 4);
  assertEquals([...slots.download(new Int32Array(5))], [72, 11, 12, 13, 70]);
  const ids = vector(device, Int32Array.of(1, 2, 3, 4, 5));
  device.gatherTokens(ids, slots, vector(device, Int32Array.of(-1, 4, 1, 5)), 4);
  assertEquals([...ids.download(new Int32Array(5))], [1, 70, 11, 4, 5]);
});

Deno.test("CUDA: adjustLogits, restoreLogits and maskLogits treat the tokens of the shard, and no other", async () => {
  using device = await openTestDevice();
  checkAdjustments(device, [1, 3, 255, 1003]);
  checkMasks(device, [1, 31, 255, 4097]);
});
