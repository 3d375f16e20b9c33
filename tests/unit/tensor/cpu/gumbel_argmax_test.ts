import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import { forEachInstructionSet } from "./_instruction_sets.ts";
import { draw, noiseOf, randomRow, ROW } from "../_gumbel.ts";
import { philox } from "../_philox.ts";
import { Random } from "../_random.ts";

Deno.test("the reference Philox gives the published answers", () => {
  // Random123's kat_vectors, philox4x32 10.
  assertEquals(philox([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  const ones = 0xffffffff;
  assertEquals(
    philox([ones, ones, ones, ones], [ones, ones]),
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  );
  assertEquals(
    philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  );
});

Deno.test("gumbelArgmax adds -ln(-ln u) of the Philox word of seed, choice, position and id", () => {
  using device = openCpuDevice({ threads: 1 });
  const random = new Random(1);
  for (let i = 0; i < 60; i++) {
    const id = i < 20 ? i : random.below(2 ** 31 - 2);
    const row = randomRow(random);
    // A shard of one token: its value is its own noise.
    const { values, ids } = draw(device, new Float32Array(1), [row], { firstId: id });
    assertEquals(ids[0], id);
    assertLess(Math.abs(values[0] - noiseOf(row, id)), 2e-6, `id ${id}`);
  }
});

Deno.test("gumbelArgmax finds the best of all tokens, though it passes over hopeless ones", () => {
  using device = openCpuDevice({ threads: 1 });
  const random = new Random(9);
  const size = 300;
  for (let i = 0; i < 40; i++) {
    // From flat to steep, rising and falling.
    const slope = (i % 8 - 4) / 20;
    const row = { ...randomRow(random), temperature: [0.1, 1, 3][i % 3] };
    const logits = random.normals(size, i % 5).map((x, id) => x + slope * id);
    const { values, ids } = draw(device, logits, [row]);
    const scores = Array.from(logits, (x, id) => x / row.temperature + noiseOf(row, id));
    const best = Math.max(...scores);
    const tolerance = 1e-6 * Math.max(10, Math.abs(best));
    assertLess(Math.abs(values[0] - best), tolerance);
    assertLess(Math.abs(scores[ids[0]] - best), tolerance);
  }
});

Deno.test("gumbelArgmax draws from softmax(x / temperature)", () => {
  using device = openCpuDevice({ threads: 2 });
  const size = 40;
  const draws = 20_000;
  const logits = new Random(2).normals(size, 2);
  const rows = Array.from(
    { length: draws },
    (_, position) => ({ ...ROW, temperature: 0.8, position }),
  );
  const repeated = Float32Array.from({ length: draws * size }, (_, i) => logits[i % size]);
  const counts = new Array(size).fill(0);
  for (const id of draw(device, repeated, rows).ids) counts[id]++;

  const chiSquare = (temperature: number) => {
    const masses = Array.from(logits, (logit) => Math.exp(logit / temperature));
    const total = masses.reduce((sum, mass) => sum + mass, 0);
    return masses.reduce((sum, mass, id) => {
      const expected = draws * mass / total;
      return sum + (counts[id] - expected) ** 2 / expected;
    }, 0);
  };
  // 39 degrees of freedom: above 82 in one of 10,000 experiments.
  assertLess(chiSquare(0.8), 82);
  // The experiment is able to tell a neighbouring temperature apart.
  assertGreater(chiSquare(0.85), 82);
});

Deno.test("gumbelArgmax draws the same on any shards, in any batch and with any threads", () => {
  using one = openCpuDevice({ threads: 1 });
  using three = openCpuDevice({ threads: 3 });
  const size = 1003;
  const random = new Random(3);
  const rows = Array.from({ length: 9 }, (_, i) => ({
    temperature: i % 3 / 2,
    seed: BigInt(i),
    choice: i % 2,
    position: 100 + i,
    threshold: i === 4 ? 0.5 : -Infinity,
  }));
  const logits = random.normals(rows.length * size);
  const whole = draw(three, logits, rows);
  rows.forEach((row, r) => {
    const own = logits.slice(r * size, (r + 1) * size);
    const alone = draw(one, own, [row]);
    assertEquals([alone.values[0], alone.ids[0]], [whole.values[r], whole.ids[r]]);
    for (const cuts of [[0, 130, 131, 500, 777, size], [0, 64, 512, size]]) {
      const shards = cuts.slice(1).map((end, i) => {
        const firstId = cuts[i];
        const { values, ids } = draw(one, own.slice(firstId, end), [row], { firstId });
        return { value: values[0], id: ids[0] };
      });
      const best = shards.reduce((best, shard) => shard.value > best.value ? shard : best);
      assertEquals([best.value, best.id], [whole.values[r], whole.ids[r]]);
    }
  });
});

Deno.test("gumbelArgmax gives the same bits on every instruction set", () => {
  using native = openCpuDevice({ threads: 1 });
  const rows = Array.from(
    { length: 200 },
    (_, position) => ({ ...ROW, position, temperature: 0.7 }),
  );
  const logits = new Random(8).normals(rows.length * 150);
  const expected = draw(native, logits, rows, { firstId: 11 });
  forEachInstructionSet({ threads: 1 }, (device, set) => {
    assertEquals(draw(device, logits, rows, { firstId: 11 }), expected, set);
  });
});

Deno.test("gumbelArgmax depends on seed, choice and position", () => {
  using device = openCpuDevice({ threads: 1 });
  const rows = [
    ROW,
    ROW,
    { ...ROW, seed: ROW.seed + 1n },
    { ...ROW, seed: ROW.seed + (1n << 32n) },
    { ...ROW, choice: 1 },
    { ...ROW, position: 18 },
  ];
  const { values } = draw(device, new Float32Array(rows.length * 500), rows);
  assertEquals(values[0], values[1]);
  assertEquals(new Set(values).size, 5);
});

Deno.test("gumbelArgmax takes the lower id of equals at temperature 0, wherever it stands", () => {
  using device = openCpuDevice({ threads: 1 });
  const greedy = { ...ROW, temperature: 0 };
  for (const [low, high] of [[5, 6], [3, 18], [17, 33], [70, 199], [63, 64]]) {
    const logits = new Random(low).normals(200).map((x) => Math.min(x, 2));
    logits[low] = logits[high] = 3;
    const { values, ids } = draw(device, logits, [greedy], { firstId: 77 });
    assertEquals([values[0], ids[0]], [3, 77 + low]);
  }
});

Deno.test("gumbelArgmax lets only logits at or above the threshold take part", () => {
  using device = openCpuDevice({ threads: 1 });
  const logits = Float32Array.from({ length: 100 }, (_, i) => i % 10);
  const rows = Array.from({ length: 500 }, (_, position) => ({ ...ROW, position, threshold: 8 }));
  const repeated = Float32Array.from({ length: 50_000 }, (_, i) => logits[i % 100]);
  const { ids } = draw(device, repeated, rows);
  assert(ids.every((id) => logits[id] >= 8));
  assertEquals(new Set(ids).size, 20);
});

Deno.test("gumbelArgmax gives a valid id when logits are NaN or -Infinity", () => {
  using device = openCpuDevice({ threads: 1 });
  for (const temperature of [0, 1]) {
    const row = { ...ROW, temperature };
    for (const bad of [NaN, -Infinity]) {
      const logits = new Float32Array(150).fill(bad);
      const none = draw(device, logits, [row], { firstId: 30 });
      assertEquals([none.values[0], none.ids[0]], [-Infinity, 30]);
      logits[99] = -5;
      assertEquals(draw(device, logits, [row], { firstId: 30 }).ids[0], 129);
    }
  }
});
