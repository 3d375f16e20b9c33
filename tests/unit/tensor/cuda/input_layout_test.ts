import { assert, assertEquals } from "@std/assert";
import * as fc from "fast-check";
import { groupsOfBlocks } from "../../../../src/tensor/cuda/input_groups.ts";
import { haveSameOrder, inputLayout } from "../../../../src/tensor/cuda/input_layout.ts";

Deno.test("inputs stay in order where groups begin at multiples of a segment", () => {
  for (
    const [size, columns, segmentSize] of [
      [128, 1000, 128],
      [64, 320, 64],
      [96, 200, 32],
      [10_000, 90, 128],
      [32, 20, 128],
    ]
  ) {
    const groups = groupsOfBlocks(columns, { size, blockSize: 0 });
    const layout = inputLayout(groups, { bits: 4 });
    assertEquals(layout.order, null);
    assertEquals(layout.segmentSize, segmentSize);
    assertEquals(layout.inputs, Math.ceil(columns / 128) * 128);
  }
});

Deno.test("groups begin afresh in every block", () => {
  assertEquals([...groupsOfBlocks(9, { size: 2, blockSize: 3 })], [0, 0, 1, 2, 2, 3, 4, 4, 5]);
  assertEquals([...groupsOfBlocks(5, { size: 3, blockSize: 0 })], [0, 0, 0, 1, 1]);
});

Deno.test("every input stands once, in a segment of its group, sorted as before inside of a group", () => {
  const groups = fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 400 });
  fc.assert(
    fc.property(groups, fc.constantFrom(4, 8), (groups, bits) => {
      const layout = inputLayout(Int32Array.from(groups), { bits });
      const { inputs, segmentSize, groupOfSegment } = layout;
      const order = layout.order ??
        Int32Array.from({ length: inputs }, (_, i) => i < groups.length ? i : -1);
      assertEquals(inputs % 128, 0);
      assertEquals(order.length, inputs);
      assertEquals(groupOfSegment.length, inputs / segmentSize);
      const placed = [...order].filter((input) => input >= 0);
      assertEquals(placed.toSorted((a, b) => a - b), groups.map((_, input) => input));
      order.forEach((input, position) => {
        if (input < 0) return;
        assertEquals(groupOfSegment[Math.floor(position / segmentSize)], groups[input]);
      });
      const isStable = placed.every((input, i) =>
        i === 0 || groups[placed[i - 1]] !== groups[input] || placed[i - 1] < input
      );
      assert(isStable);
    }),
    { seed: 1 },
  );
});

Deno.test("the size of segments is the one that takes the fewest bytes", () => {
  // Inputs of two groups in turn, 128 of each: whole segments whatever their size.
  const turns = Int32Array.from({ length: 256 }, (_, k) => k % 2);
  assertEquals(inputLayout(turns, { bits: 4 }).segmentSize, 128);
  // Twenty groups of 33 inputs: each fills half a segment of 64.
  const many = Int32Array.from({ length: 660 }, (_, k) => k % 20);
  assertEquals(inputLayout(many, { bits: 8 }).segmentSize, 64);
});

Deno.test("orders are the same when inputs and sizes of segments are", () => {
  const turns = inputLayout(Int32Array.from({ length: 64 }, (_, k) => k % 2), { bits: 4 });
  const others = inputLayout(Int32Array.from({ length: 64 }, (_, k) => (k + 1) % 2), { bits: 4 });
  const plain = inputLayout(new Int32Array(64), { bits: 4 });
  assert(haveSameOrder(turns, { ...turns }));
  assert(!haveSameOrder(turns, others));
  assert(!haveSameOrder(turns, plain));
  assert(haveSameOrder(plain, inputLayout(new Int32Array(64).fill(3), { bits: 4 })));
  assert(!haveSameOrder(plain, { ...plain, segmentSize: 32 }));
});
