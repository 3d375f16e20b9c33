/**
 * Stand-ins with which a model can be built without memory or weights, to see what it would hold.
 * @module
 */
import type { Communicator } from "../distributed/communicator.ts";
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import { cpuKvBlockBytes } from "../tensor/cpu/kv_cache.ts";
import type { Device, DeviceKind } from "../tensor/device.ts";
import { dtypeBytes, type WeightDType } from "../tensor/dtype.ts";
import {
  isQuantized,
  type QuantizedMatrix,
  type WeightFormat,
  type WeightOptions,
  type WeightPart,
} from "../tensor/linear_kernels.ts";
import { Tensor } from "../tensor/tensor.ts";

/** What was loaded so far. */
export interface MeasuredBytes {
  /** Bytes of weights. */
  weightBytes: number;
  /** Bytes of activations and tables. */
  bufferBytes: number;
  /** Bytes of key and value blocks. */
  kvBytes: number;
}

/** A place in a group; building a model asks for no more of a communicator. */
export function placeInGroup(rank: number, size: number): Communicator {
  const communicator: Partial<Communicator> = { rank, size };
  return communicator as Communicator;
}

/** Input features that share a scale where weights are quantised on loading, and the scale's bytes. */
const GROUPS = { int8: { size: 256, bytes: 4 }, int4: { size: 32, bytes: 3 } } as const;

/** The same on a GPU, where a scale is a word with its zero. */
const GPU_GROUPS = { int8: { size: 128, bytes: 4 }, int4: { size: 32, bytes: 4 } } as const;

/** Input features over which a device sums integers at most, and keeps one scale. */
const SEGMENT = 256;
const GPU_SEGMENT = 128;

/** Bytes that a device of `kind` keeps for a matrix that it quantises. */
export function integerBytes(
  elements: number,
  format: "int8" | "int4",
  kind: DeviceKind,
): number {
  const { size, bytes } = (kind === "cuda" ? GPU_GROUPS : GROUPS)[format];
  return elements * (elementBytes(format) + bytes / size);
}

/** Bytes that a device keeps for a matrix that is stored quantised. */
function quantizedBytes(
  { dtype, rows, columns, groupSize, scales, zeros }: QuantizedMatrix,
  kind: DeviceKind,
): number {
  // A zero takes twice the bytes of an element; on a GPU it lies in its scale's word.
  const each = kind === "cuda"
    ? GPU_GROUPS[dtype].bytes
    : dtypeBytes(scales.dtype) + (zeros === null ? 0 : 2 * elementBytes(dtype));
  const groups = columns / Math.min(groupSize, kind === "cuda" ? GPU_SEGMENT : SEGMENT);
  return rows * (columns * elementBytes(dtype) + groups * each);
}

function elementBytes(format: "int8" | "int4"): number {
  return format === "int8" ? 1 : 0.5;
}

/**
 * Bytes that a device keeps for each element of a weight that is stored with `storedBytes`: a GPU has it in
 * the format that is multiplied, the CPU makes a wider format in registers, from what is stored.
 */
export function keptBytes(kind: DeviceKind, storedBytes: number, format: WeightDType): number {
  const wanted = dtypeBytes(format);
  return kind === "cpu" ? Math.min(storedBytes, wanted) : wanted;
}

/**
 * A device that adds up in `total` what is loaded, as a device of `kind` would keep it. It has what
 * building a model needs and no kernels.
 */
export function measuringDevice(
  total: MeasuredBytes = { weightBytes: 0, bufferBytes: 0, kvBytes: 0 },
  kind: DeviceKind = "cpu",
): Device {
  const device: Partial<Device> = {
    kind,
    allocate(byteLength) {
      total.bufferBytes += byteLength;
      return 0n;
    },
    free: () => {},
    upload: () => {},
    copy: () => {},
    synchronize: () => {},
    linearWeight(parts, wanted, options = {}) {
      for (const part of parts) total.weightBytes += partBytes(kind, part, wanted, options);
      const format = formatOf(parts[0], wanted, options);
      return {
        format,
        outFeatures: parts.reduce((sum, { rows }) => sum + rows, 0),
        inFeatures: parts[0].columns,
        [Symbol.dispose]() {},
      };
    },
    vector(source) {
      total.weightBytes += source.length * dtypeBytes("f32");
      return Tensor.view(device as Device, 0n, { shape: [source.length] });
    },
    kvCache(numBlocks, { numKvHeads, headDim, dtype }) {
      const blockBytes = kind === "cpu"
        ? cpuKvBlockBytes({ numKvHeads, headDim, dtype })
        : KV_BLOCK_SIZE * numKvHeads * headDim * dtypeBytes(dtype === "int8" ? "u8" : dtype);
      total.kvBytes += 2 * numBlocks * blockBytes;
      const part = Tensor.view(device as Device, 0n, { shape: [0] });
      return { keys: part, values: part, dtype };
    },
  };
  return device as Device;
}

function partBytes(
  kind: DeviceKind,
  part: WeightPart,
  format: WeightDType,
  { quantization, use }: WeightOptions,
): number {
  const elements = part.rows * part.columns;
  if (isQuantized(part)) return quantizedBytes(part, kind);
  const dense = elements * keptBytes(kind, dtypeBytes(part.dtype), format);
  if (quantization === undefined) return dense;
  // Rows that are looked up stay beside what is quantised for products.
  return integerBytes(elements, quantization, kind) + (use === "both" ? dense : 0);
}

function formatOf(
  part: WeightPart,
  format: WeightDType,
  { quantization }: WeightOptions,
): WeightFormat {
  return isQuantized(part) ? part.dtype : quantization ?? format;
}
