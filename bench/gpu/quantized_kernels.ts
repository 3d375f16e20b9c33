/**
 * Products with weights of 4 and 8 bits at the shapes of Llama 3.2 1B and 3.1 8B, for few rows and on both
 * sides of the number from which weights are made dense: `deno run -A bench/gpu/quantized_kernels.ts`.
 * Bytes are those of the packed weights with their scales, and of the rows.
 * @module
 */
import { addressOf } from "../../src/native/c_declarations.ts";
import { openCudaDevice } from "../../src/tensor/cuda/device.ts";
import { MAX_PACKED_ROWS } from "../../src/tensor/cuda/quantized_linear.ts";
import type { Device } from "../../src/tensor/device.ts";
import { dtypeBytes } from "../../src/tensor/dtype.ts";
import {
  type LinearWeight,
  type QuantizedMatrix,
  wholeSlice,
} from "../../src/tensor/linear_kernels.ts";
import { reportWork } from "./_figures.ts";
import { hostValues, LINEAR_SHAPES, type LinearShape, ROUND_BYTES, tensor } from "./_operands.ts";
import { secondsOfRecorded } from "./_timing.ts";

/** Rows that are bound by memory, and those that are bound by arithmetic. */
const FEW_ROWS = [1, 4, 8, 16];
const MANY_ROWS = [64, MAX_PACKED_ROWS, MAX_PACKED_ROWS + 1, 1024];

/** Calls of products that are bound by arithmetic. */
const CALLS = 8;

/** Makes a weight of random values, which may be bf16 or anything. */
type Make = (
  device: Device,
  shape: LinearShape,
  values: Uint16Array<ArrayBuffer>,
) => LinearWeight;

/** What is measured. */
interface Format {
  readonly name: string;
  /** Bytes of an element and its share of the scales. */
  readonly elementBytes: number;
  readonly make: Make;
}

/** g128: groups of 128 inputs. */
const FORMATS: readonly Format[] = [
  { name: "int8 g128", elementBytes: 1 + 4 / 128, make: quantize("int8") },
  { name: "int4 g32", elementBytes: 0.5 + 4 / 32, make: quantize("int4") },
  { name: "AWQ g128", elementBytes: 0.5 + 4 / 128, make: storedAwq },
];

function quantize(quantization: "int8" | "int4"): Make {
  return (device, { outFeatures, inFeatures }, values) => {
    const part = {
      address: addressOf(values),
      dtype: "bf16" as const,
      rows: outFeatures,
      columns: inFeatures,
      rowStride: inFeatures,
    };
    return device.linearWeight([part], "bf16", { quantization });
  };
}

/** Elements, scales and zeros are the same memory, which is larger than any of them. */
function storedAwq(
  device: Device,
  { outFeatures, inFeatures }: LinearShape,
  values: Uint16Array<ArrayBuffer>,
): LinearWeight {
  const part: QuantizedMatrix = {
    dtype: "int4",
    packing: "awq",
    values: addressOf(values),
    scales: { address: addressOf(values), dtype: "bf16" },
    zeros: addressOf(values),
    zeroOffset: 0,
    groupOfInput: null,
    groupSize: 128,
    ...wholeSlice(outFeatures, inFeatures),
  };
  return device.linearWeight([part], "bf16");
}

function measure(device: Device, shape: LinearShape, format: Format): void {
  using stack = new DisposableStack();
  const { name, outFeatures, inFeatures, out } = shape;
  const weightBytes = outFeatures * inFeatures * format.elementBytes;
  const copies = Math.max(2, Math.ceil(ROUND_BYTES / weightBytes));
  const values = hostValues(outFeatures * inFeatures);
  const weights = Array.from(
    { length: copies },
    () => stack.use(format.make(device, shape, values)),
  );
  for (const rows of [...FEW_ROWS, ...MANY_ROWS]) {
    const x = tensor(device, stack, [rows, inFeatures]);
    const scratch = tensor(device, stack, [rows, outFeatures]);
    const width = out === "gated" ? outFeatures / 2 : outFeatures;
    const outDtype = out === "gated" ? "bf16" : out;
    const result = tensor(device, stack, [rows, width], outDtype);
    const isFew = FEW_ROWS.includes(rows);
    const calls = weights.slice(0, isFew ? copies : CALLS).map((weight) => () =>
      out === "gated"
        ? device.gatedLinear(result, x, weight, rows, { scratch })
        : device.linear(result, x, weight, rows)
    );
    const seconds = secondsOfRecorded(device, calls);
    const bytes = weightBytes + rows * (2 * inFeatures + width * dtypeBytes(outDtype));
    const work = isFew ? { bytes } : { flops: 2 * rows * outFeatures * inFeatures };
    reportWork(`linear ${format.name} ${name}, ${rows} rows`, { seconds, ...work });
  }
}

using device = openCudaDevice();
for (const format of FORMATS) {
  for (const shape of LINEAR_SHAPES) {
    // Heads have 8 bits under every format.
    if (shape.name.endsWith("head") && !format.name.startsWith("int8")) continue;
    measure(device, shape, format);
  }
}
