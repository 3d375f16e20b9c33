import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import type { Device } from "../../../../src/tensor/device.ts";
import { orderedKey } from "../../../../src/tensor/ordered_key.ts";
import { Tensor } from "../../../../src/tensor/tensor.ts";
import { forEachInstructionSet } from "./_instruction_sets.ts";
import { checkAdjustments, checkMasks } from "../_logit_adjustments.ts";
import { assertSameBits, Matrix, vector } from "../_matrix.ts";
import { Random } from "../_random.ts";
import { histogram, type HistogramRow, searchThresholds } from "../_thresholds.ts";

function topK(
  device: Device,
  row: Float32Array,
  k: number,
  firstId = 0,
): { values: number[]; ids: number[] } {
  const x = new Matrix(device, 2, row.length, { values: [...row, ...row.toReversed()] });
  using values = Tensor.allocate(device, { shape: [2, k] });
  using ids = Tensor.allocate(device, { shape: [2, k], dtype: "i32" });
  device.topK(values, ids, x.tensor, 2, { size: row.length, k, firstId });
  return {
    values: [...values.download(new Float32Array(2 * k)).subarray(0, k)],
    ids: [...ids.download(new Int32Array(2 * k)).subarray(0, k)],
  };
}

Deno.test("topK sorts as a stable descending sort does", () => {
  using device = openCpuDevice({ threads: 2 });
  const random = new Random(1);
  for (const size of [1, 2, 15, 16, 17, 100, 1000]) {
    // Few distinct values, so that there are ties.
    const row = Float32Array.from({ length: size }, () => random.below(40) - 20);
    const order = [...row.keys()].sort((a, b) => row[b] - row[a] || a - b);
    for (const k of [1, 2, 5, 17, size].filter((k) => k <= size)) {
      const { values, ids } = topK(device, row, k, 1000);
      assertEquals(ids, order.slice(0, k).map((i) => i + 1000), `${k} of ${size}`);
      assertEquals(values, order.slice(0, k).map((i) => row[i]));
    }
  }
});

Deno.test("topK takes NaN for -Infinity and refuses more than there are", () => {
  using device = openCpuDevice({ threads: 1 });
  const row = Float32Array.of(NaN, 1, NaN, -Infinity, 3, NaN);
  assertEquals(topK(device, row, 4), { values: [3, 1, -Infinity, -Infinity], ids: [4, 1, 0, 2] });
  assertThrows(() => topK(device, row, 7), RangeError, "k must be an integer from 1 to 6");
});

/** Statistics of one row cut into `parts` ranks, merged over the ranks. */
function logSumExp(device: Device, row: Float32Array, blockSize: number, parts = 1): Float32Array {
  const size = row.length / parts;
  using stats = Tensor.allocate(device, { shape: [1, 2] });
  const gathered = new Float32Array(parts * 2);
  for (let part = 0; part < parts; part++) {
    const values = row.subarray(part * size, (part + 1) * size);
    device.logSumExp(stats, new Matrix(device, 1, size, { values }).tensor, 1, { size, blockSize });
    stats.download(gathered.subarray(part * 2, part * 2 + 2));
  }
  using all = Tensor.allocate(device, { shape: [parts, 1, 2] });
  all.upload(gathered);
  device.mergeLogSumExp(stats, all, 1, parts);
  return stats.download(new Float32Array(2));
}

Deno.test("logSumExp agrees with float64, and merges to the same bits for 1, 2, 4 and 8 ranks", () => {
  using device = openCpuDevice({ threads: 2 });
  for (const blockSize of [1, 13, 16, 500]) {
    const row = new Random(blockSize).normals(blockSize * 8, 4);
    const maximum = Math.max(...row);
    const sum = row.reduce((sum, x) => sum + Math.exp(x - maximum), 0);
    const expected = logSumExp(device, row, blockSize);
    assertEquals(expected[0], maximum);
    assertLess(Math.abs(expected[1] / sum - 1), 1e-6);
    for (const parts of [2, 4, 8]) {
      assertSameBits(logSumExp(device, row, blockSize, parts), expected, `${parts} ranks`);
    }
  }
});

Deno.test("logSumExp of blocks and rows of -Infinity is no NaN", () => {
  using device = openCpuDevice({ threads: 1 });
  const row = new Float32Array(80).fill(-Infinity);
  for (const parts of [1, 2, 8]) {
    assertEquals([...logSumExp(device, row, 10, parts)], [-Infinity, 0]);
  }
  row[3] = 2;
  row[70] = 2;
  for (const parts of [1, 2, 8]) assertEquals([...logSumExp(device, row, 10, parts)], [2, 2]);
  row[71] = NaN;
  assertEquals([...logSumExp(device, row, 10)], [2, 2]);
});

Deno.test("logSumExp does not depend on the other rows or the number of threads", () => {
  using one = openCpuDevice({ threads: 1 });
  using three = openCpuDevice({ threads: 3 });
  const [rows, size] = [20, 203];
  const values = new Random(9).normals(rows * size);
  using stats = Tensor.allocate(three, { shape: [rows, 2] });
  const logits = new Matrix(three, rows, size, { values });
  three.logSumExp(stats, logits.tensor, rows, { size, blockSize: 26 });
  const all = stats.download(new Float32Array(rows * 2));
  for (let row = 0; row < rows; row++) {
    const alone = logSumExp(one, values.subarray(row * size, (row + 1) * size), 26);
    assertSameBits(all.subarray(2 * row, 2 * row + 2), alone);
  }
});

Deno.test("logitHistogram counts what agrees with the prefix and reaches the threshold", () => {
  using device = openCpuDevice({ threads: 2 });
  const special = [0, -0, 1e-45, -1e-45, 1e-40, -1e-40, Infinity, -Infinity, 3.4e38, -3.4e38];
  const logits = Float32Array.from([...new Random(4).normals(301, 3), ...special]);
  const size = logits.length;
  const maximum = 9;
  const prefixes = [...logits.subarray(0, 4), ...special].map(orderedKey);
  prefixes.push(0, 0x00120000, 0xffffffff, 0x7fffffff);
  for (const prefix of prefixes) {
    for (let round = 0; round < 4; round++) {
      for (const threshold of [-2, -Infinity]) {
        const expected = new Float64Array(256);
        const masses = new Float64Array(256);
        for (const logit of logits) {
          const key = orderedKey(logit + 0); // -0 counts as 0
          const known = 2 ** (32 - 8 * round);
          if (logit < threshold || Math.floor(key / known) !== Math.floor(prefix / known)) continue;
          const bin = key >>> 24 - 8 * round & 255;
          expected[bin]++;
          masses[bin] += Math.min(1, Math.exp((logit - maximum) / 0.7)) * 2 ** 30;
        }
        const row = { prefix, threshold, maximum, temperature: 0.7 };
        const twice = Float32Array.from({ length: 2 * size }, (_, i) => logits[i % size]);
        const rows = [{ ...row, share: 0.1 }, { ...row, share: 0 }];
        const counts = histogram(device, twice, rows, { round, kind: "count" });
        assertEquals(counts.subarray(0, 256), expected, `prefix ${prefix}, round ${round}`);
        assert(counts.subarray(256).every((count) => count === 0));
        const actual = histogram(device, twice, rows, { round, kind: "mass" });
        for (let bin = 0; bin < 256; bin++) {
          const mass = actual[bin];
          assert(Number.isInteger(mass) && mass <= masses[bin] * (1 + 1e-5));
          assert(mass >= masses[bin] * (1 - 1e-5) - expected[bin]);
        }
        assert(actual.subarray(256).every((count) => count === 0));
      }
    }
  }
});

Deno.test("logitHistogram adds up over shards exactly", () => {
  using device = openCpuDevice({ threads: 1 });
  const logits = new Random(5).normals(1000, 3);
  const rows: HistogramRow[] = [
    { share: 1, prefix: 0, threshold: -Infinity, maximum: Math.max(...logits), temperature: 1.3 },
  ];
  const search = { round: 0, kind: "mass" } as const;
  const sum = new Float64Array(256);
  for (const [begin, end] of [[0, 333], [333, 334], [334, 1000]]) {
    const part = histogram(device, logits.subarray(begin, end), rows, search);
    part.forEach((mass, i) => sum[i] += mass);
  }
  assertEquals(sum, histogram(device, logits, rows, search));
});

Deno.test("four rounds find the k-th largest logit, and keep all when there are fewer", () => {
  using device = openCpuDevice({ threads: 1 });
  const logits = new Random(6).normals(500, 3);
  logits[20] = NaN;
  const descending = [...logits].map((x) => x === x ? x : -Infinity).sort((a, b) => b - a);
  const ks = [1, 2, 40, 499, 0, 500, 10_000];
  const expected = ks.map((k) => k === 0 ? -Infinity : descending[Math.min(k, 500) - 1]);
  assertEquals([...searchThresholds(device, logits, ks, { kind: "count" })], expected);
});

Deno.test("four rounds find where a share of the mass is reached, among what takes part", () => {
  using device = openCpuDevice({ threads: 1 });
  const logits = new Random(16).normals(400, 2);
  const shares = [1e-9, 0.1, 0.5, 0.9, 0.999, 0];
  for (const threshold of [-Infinity, 0.25]) {
    const taking = [...logits].filter((x) => x >= threshold).sort((a, b) => b - a);
    const masses = taking.map((x) => Math.exp((x - taking[0]) / 0.8));
    const total = masses.reduce((sum, mass) => sum + mass);
    const expected = shares.map((share) => {
      let left = share * total;
      return share === 0 ? threshold : taking[masses.findIndex((mass) => (left -= mass) <= 0)];
    });
    const options = { kind: "mass", threshold, temperature: 0.8 } as const;
    assertEquals([...searchThresholds(device, logits, shares, options)], expected);
  }
});

Deno.test("a search never lowers a threshold", () => {
  using device = openCpuDevice({ threads: 1 });
  const logits = Float32Array.of(1, 2, 3, 4);
  // Nothing takes part, so nothing can be kept.
  assertEquals([...searchThresholds(device, logits, [2], { kind: "count", threshold: 9 })], [9]);
});

Deno.test("minPThresholds rounds maximum + offset once; no offset lets all in", () => {
  using device = openCpuDevice({ threads: 1 });
  const maxima = [3, -1e30, Infinity, -Infinity, 5.5];
  const offsets = [-0.1, -7, -Infinity, -1, -Infinity];
  const thresholds = vector(device, new Float32Array(5).fill(NaN));
  const stats = vector(device, Float32Array.from(maxima.flatMap((maximum) => [maximum, NaN])));
  device.minPThresholds(thresholds, stats, vector(device, Float64Array.from(offsets)), 5);
  assertEquals(
    [...thresholds.download(new Float32Array(5))],
    [Math.fround(2.9), Math.fround(-1e30), -Infinity, -Infinity, -Infinity],
  );
});

Deno.test("mergeDraws takes the best value, of equals the first part's", () => {
  using device = openCpuDevice({ threads: 1 });
  const values = [[1, 5, -Infinity, -7], [2, 5, -Infinity, -Infinity], [2, 4, -Infinity, -6]];
  const draws = values.flatMap((row, part) => [
    ...new Int32Array(Float32Array.from(row).buffer),
    ...row.map((_, i) => 100 * part + i),
  ]);
  const tokens = vector(device, new Int32Array(4).fill(-9));
  device.mergeDraws(tokens, vector(device, Int32Array.from(draws)), 4, 3);
  assertEquals([...tokens.download(new Int32Array(4))], [100, 1, 2, 203]);
});

Deno.test("tokens go to their slots and come back from them; rows without one are passed over", () => {
  using device = openCpuDevice({ threads: 1 });
  const slots = vector(device, Int32Array.of(10, 11, 12, 13, 14));
  const tokens = vector(device, Int32Array.of(70, 71, 72));
  device.scatterTokens(slots, tokens, vector(device, Int32Array.of(4, -1, 0)), 3);
  assertEquals([...slots.download(new Int32Array(5))], [72, 11, 12, 13, 70]);
  const ids = vector(device, Int32Array.of(1, 2, 3, 4));
  device.gatherTokens(ids, slots, vector(device, Int32Array.of(-1, 4, 1)), 3);
  assertEquals([...ids.download(new Int32Array(4))], [1, 70, 11, 4]);
  const beyond = vector(device, Int32Array.of(1, 5));
  const message = "there are 5 slots: one is 5";
  assertThrows(() => device.scatterTokens(slots, tokens, beyond, 2), RangeError, message);
  assertThrows(() => device.gatherTokens(ids, slots, beyond, 2), RangeError, message);
});

Deno.test("sums and masses have the same bits on every instruction set", () => {
  using native = openCpuDevice({ threads: 1 });
  const logits = new Random(7).normals(8 * 77, 3);
  const rows: HistogramRow[] = [
    { share: 1, prefix: 0, threshold: -9, maximum: Math.max(...logits), temperature: 0.9 },
  ];
  const search = { round: 0, kind: "mass" } as const;
  forEachInstructionSet({ threads: 1 }, (device, set) => {
    assertSameBits(logSumExp(device, logits, 77), logSumExp(native, logits, 77), set);
    assertEquals(
      histogram(device, logits, rows, search),
      histogram(native, logits, rows, search),
      set,
    );
    assertEquals(topK(device, logits, 20), topK(native, logits, 20), set);
  });
});

Deno.test("gatherLogits takes an id's logit, or -Infinity outside the shard", () => {
  using device = openCpuDevice({ threads: 1 });
  const logits = new Matrix(device, 4, 3, {
    values: Float32Array.from({ length: 12 }, (_, i) => i),
  });
  using values = Tensor.allocate(device, { shape: [4] });
  const ids = vector(device, Int32Array.of(10, 12, 9, 13));
  device.gatherLogits(values, logits.tensor, ids, 4, { size: 3, firstId: 10 });
  assertEquals([...values.download(new Float32Array(4))], [0, 5, -Infinity, -Infinity]);
});

Deno.test("adjustLogits changes and restoreLogits puts back the tokens of the shard, and no other", () => {
  using device = openCpuDevice({ threads: 2 });
  checkAdjustments(device, [1, 3, 17, 255, 1003]);
  forEachInstructionSet({ threads: 1 }, (other) => checkAdjustments(other, [37]));
});

Deno.test("maskLogits leaves the tokens whose bit is set, wherever the shard begins", () => {
  using device = openCpuDevice({ threads: 2 });
  checkMasks(device, [1, 3, 31, 32, 255, 1003]);
});
