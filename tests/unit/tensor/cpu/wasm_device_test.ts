import { assertEquals, assertThrows } from "@std/assert";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import { openWasmDevice } from "../../../../src/tensor/cpu/wasm_device.ts";
import type { Device } from "../../../../src/tensor/device.ts";
import type { WeightDType } from "../../../../src/tensor/dtype.ts";
import type { WeightOptions } from "../../../../src/tensor/linear_kernels.ts";
import { Tensor } from "../../../../src/tensor/tensor.ts";
import { checkAdjustments, checkMasks } from "../_logit_adjustments.ts";

const [OUTPUTS, INPUTS, ROWS] = [77, 160, 9];

function numbers(length: number, seed: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length }, (_, i) => Math.sin(i * 0.37 + seed) * (1 + i % 7));
}

/** A product and its bits; the weight is a slice of columns of a wider matrix, or lies transposed. */
function product(
  device: Device,
  format: WeightDType,
  options: WeightOptions & { readonly transposed?: boolean },
): number[] {
  const { transposed = false, ...weightOptions } = options;
  const stride = transposed ? OUTPUTS : INPUTS + 3;
  const stored = numbers(transposed ? INPUTS * OUTPUTS : OUTPUTS * stride, 1);
  const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(stored));
  const part = {
    address,
    dtype: "f32" as const,
    rows: OUTPUTS,
    columns: INPUTS,
    rowStride: stride,
    transposed,
  };
  using weight = device.linearWeight([part], format, { blockSize: 20, ...weightOptions });
  using x = Tensor.allocate(device, { shape: [ROWS, INPUTS] });
  using out = Tensor.allocate(device, { shape: [ROWS, OUTPUTS] });
  x.upload(numbers(ROWS * INPUTS, 2));
  out.upload(new Float32Array(ROWS * OUTPUTS).fill(NaN));
  // Copies must not depend on what they were made from.
  stored.fill(NaN);
  device.linear(out, x, weight, ROWS, { activation: "gelu" });
  return [...new Uint32Array(out.download(new Float32Array(ROWS * OUTPUTS)).buffer)];
}

Deno.test("products through WebAssembly have the native bits, for any number of threads", () => {
  using native = openCpuDevice({ threads: 1 });
  using alone = openWasmDevice({ threads: 1 });
  using together = openWasmDevice({ threads: 3 });
  const copied = (format: WeightDType, options: Parameters<typeof product>[2]) => {
    const bits = product(alone, format, options);
    assertEquals(product(together, format, options), bits);
    return bits;
  };
  for (const quantization of ["int8", "int4"] as const) {
    for (const format of ["f32", "bf16"] as const) {
      const options = { quantization };
      assertEquals(copied(format, options), product(native, format, options));
    }
  }
  // Transposed parts are copied by the native device too, so that they may change.
  for (const format of ["f16", "bf16"] as const) {
    for (const transposed of [false, true]) {
      const bits = copied(format, { transposed });
      // Sets differ in how they round bf16 sums (docs/NUMERICS.md).
      if (format === "f16") assertEquals(bits, product(native, format, { transposed }));
    }
  }
});

Deno.test("the WebAssembly device says what it is, and refuses what does not fit", () => {
  using device = openWasmDevice({ threads: 1 });
  assertEquals(device.kind, "cpu");
  assertEquals(device.description.instructionSet, "wasm-simd128+fma");
  assertThrows(() => device.allocate(2 ** 33), Error, "Cannot allocate 8589934592 bytes");
  assertThrows(() => openWasmDevice({ threads: 0 }), RangeError, "threads");
});

Deno.test("logits are adjusted and masked through WebAssembly as they are natively", () => {
  using device = openWasmDevice({ threads: 2 });
  checkAdjustments(device, [1, 37, 255]);
  checkMasks(device, [1, 37, 255]);
});
