import { assert, assertEquals, assertLess } from "@std/assert";
import { packAwq } from "../../../../src/models/quantize/pack_awq.ts";
import {
  type DenseWeight,
  roundGroups,
  roundRows,
} from "../../../../src/models/quantize/round_weights.ts";
import { type QuantizedMatrix, wholeSlice } from "../../../../src/tensor/linear_kernels.ts";
import { dequantize } from "../../tensor/_dequantize.ts";
import { Random } from "../../tensor/_random.ts";

function randomWeight(rows: number, columns: number): DenseWeight {
  return { values: new Random(rows + columns).normals(rows * columns), rows, columns };
}

Deno.test("int8: every weight within half a step, ends of the range used, scales of their type", () => {
  const weight = randomWeight(5, 37);
  weight.values.fill(0, 37, 74);
  for (const dtype of ["f32", "f16", "bf16"] as const) {
    const { values, scales } = roundRows(weight, dtype);
    values.forEach((value, i) => {
      const scale = scales[Math.floor(i / 37)];
      // A scale that was rounded down clips its largest weight a little.
      assert(Math.abs(weight.values[i] - value * scale) <= scale * (dtype === "f32" ? 0.501 : 1));
    });
    for (const row of [0, 2, 3, 4]) {
      assertEquals(Math.max(...values.subarray(row * 37, row * 37 + 37).map(Math.abs)), 127);
    }
    assert(values.subarray(37, 74).every((value) => value === 0));
    if (dtype === "f16") assertEquals(scales, Float32Array.from(new Float16Array(scales)));
  }
});

Deno.test("int4: every weight within half a step, a group of zeros stays zero", () => {
  const weight = randomWeight(8, 64);
  weight.values.fill(0, 32, 64);
  const { values, scales, zeros } = roundGroups(weight, { groupSize: 32 });
  for (let row = 0; row < 8; row++) {
    for (let column = 0; column < 64; column++) {
      const place = Math.floor(column / 32) * 8 + row;
      const value = (values[row * 64 + column] - zeros[place]) * scales[place];
      assert(Math.abs(weight.values[row * 64 + column] - value) <= scales[place] * 1.01);
      if (row === 0 && column >= 32) assertEquals(value, 0);
    }
  }
});

Deno.test("int4: what matters less is clipped where that serves what matters more", () => {
  const weight = randomWeight(1, 32);
  weight.values[7] = 40;
  const error = (importance: Float32Array | undefined) => {
    const { values, scales, zeros } = roundGroups(weight, { groupSize: 32, importance });
    return weight.values.reduce((sum, value, i) => {
      const difference = value - (values[i] - zeros[0]) * scales[0];
      return sum + (i === 7 ? 1e-6 : 1) * difference ** 2;
    }, 0);
  };
  const importance = new Float32Array(32).fill(1);
  importance[7] = 1e-6;
  assertLess(error(importance), 0.7 * error(undefined));
});

Deno.test("AWQ's layout holds what was rounded", () => {
  const [rows, columns, groupSize] = [24, 64, 32];
  const weight = randomWeight(rows, columns);
  const rounded = roundGroups(weight, { groupSize });
  const { values, scales, zeros } = packAwq(rounded, rows);
  const address = (view: ArrayBufferView<ArrayBuffer>) =>
    Deno.UnsafePointer.value(Deno.UnsafePointer.of(view));
  const matrix: QuantizedMatrix = {
    dtype: "int4",
    packing: "awq",
    values: address(values),
    scales: { address: address(scales), dtype: "f16" },
    zeros: address(zeros),
    zeroOffset: 0,
    groupOfInput: null,
    groupSize,
    ...wholeSlice(rows, columns),
  };
  const expected = Float64Array.from(rounded.values, (value, i) => {
    const place = Math.floor(i % columns / groupSize) * rows + Math.floor(i / columns);
    return (value - rounded.zeros[place]) * rounded.scales[place];
  });
  assertEquals(dequantize(matrix), expected);
});
