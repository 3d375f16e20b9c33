/**
 * Weights of linear layers as the CPU kernels read them.
 * @module
 */
import type { CpuContext } from "./context.ts";
import { CPU_PANEL_SYMBOLS, type PackedWeight, packPanels } from "./panels.ts";
import { CPU_QUANTIZED_SYMBOLS, importParts, quantizeParts } from "./quantized_weight.ts";
import { CPU_STORED_ROWS_SYMBOLS, keepsRows, type Segment, storedRows } from "./stored_rows.ts";
import type { WeightDType } from "../dtype.ts";
import {
  type HostMatrix,
  isQuantized,
  type LinearWeight,
  type WeightFormat,
  type WeightOptions,
  type WeightPart,
} from "../linear_kernels.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_WEIGHT_SYMBOLS = {
  ...CPU_STORED_ROWS_SYMBOLS,
  ...CPU_PANEL_SYMBOLS,
  ...CPU_QUANTIZED_SYMBOLS,
} as const satisfies Deno.ForeignLibraryInterface;

/** How the kernels multiply: kinds of native/cpu/linear.h. */
const KINDS = { rows: 0n, panels: 1n, quantized: 2n } as const;

/** What a weight is made of. */
interface Storage {
  readonly format: WeightFormat;
  readonly kind: keyof typeof KINDS;
  readonly segments: readonly Segment[];
  readonly packed: PackedWeight | null;
}

interface Shape {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly blockSize: number;
}

/**
 * A weight as rows that stay where they are stored (f32 and f16, and tables), as bf16 or quantised panels,
 * or as both. Mapped parts that stay must outlive the weight.
 */
export class CpuLinearWeight implements LinearWeight {
  readonly format: WeightFormat;
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** Address of the kernels' `weft_weight` (native/cpu/linear.h). */
  readonly descriptor: bigint;
  readonly #free: () => void;

  private constructor(
    format: WeightFormat,
    shape: Shape,
    allocations: { descriptor: bigint; free: () => void },
  ) {
    this.format = format;
    this.outFeatures = shape.outFeatures;
    this.inFeatures = shape.inFeatures;
    this.descriptor = allocations.descriptor;
    this.#free = allocations.free;
  }

  /** Stacks `parts`, which have the same number of columns. */
  static from(
    context: CpuContext<typeof CPU_WEIGHT_SYMBOLS>,
    parts: readonly WeightPart[],
    format: WeightDType,
    options: WeightOptions = {},
  ): CpuLinearWeight {
    const { memory, scratch } = context;
    const shape = {
      outFeatures: parts.reduce((sum, { rows }) => sum + rows, 0),
      inFeatures: parts[0].columns,
      blockSize: options.blockSize ?? 0,
    };
    const owned: bigint[] = [];
    let packed: PackedWeight | null = null;
    const free = () => {
      for (const address of owned) memory.free(address);
      if (packed === null) return;
      if (packed.structures !== undefined) memory.free(packed.structures);
      memory.packed.free(packed.address);
    };
    try {
      const storage = store(context, parts, format, options, owned);
      packed = storage.packed;
      if (packed !== null) scratch.reserve(packed.tokenBytes);
      const descriptor = writeDescriptor(context, storage, shape);
      owned.push(descriptor);
      return new CpuLinearWeight(storage.format, shape, { descriptor, free });
    } catch (error) {
      free();
      throw error;
    }
  }

  /** Frees the copies; mapped parts are left alone. */
  [Symbol.dispose](): void {
    this.#free();
  }
}

/** Address of a weight's `weft_weight`; throws TypeError for a weight that another device made. */
export function descriptorOf(weight: LinearWeight): bigint {
  if (!(weight instanceof CpuLinearWeight)) {
    throw new TypeError("Cannot run a CPU kernel as the weight belongs to another device");
  }
  return weight.descriptor;
}

function store(
  context: CpuContext<typeof CPU_WEIGHT_SYMBOLS>,
  parts: readonly WeightPart[],
  format: WeightDType,
  options: WeightOptions,
  owned: bigint[],
): Storage {
  const { quantization, use = "product", blockSize = 0 } = options;
  const product = { blockSize, exact: format === "f32" };
  const quantized = parts.filter(isQuantized);
  if (quantized.length > 0) {
    if (use !== "product") {
      throw new TypeError("Cannot look up rows of a weight as it is stored quantised");
    }
    const packed = importParts(context, quantized, product);
    return { format: quantized[0].dtype, kind: "quantized", segments: [], packed };
  }
  const dense = parts as readonly HostMatrix[];
  const isPacked = (format === "bf16" || quantization !== undefined) && use !== "table";
  const segments = keepsRows(format, options)
    ? dense.map((part) => storedRows(context, part, format, owned))
    : [];
  if (!isPacked) return { format, kind: "rows", segments, packed: null };
  if (quantization === undefined) {
    return { format, kind: "panels", segments, packed: packPanels(context, dense, blockSize) };
  }
  const packed = quantizeParts(context, dense, quantization, product);
  return { format: quantization, kind: "quantized", segments, packed };
}

// A weft_weight, what it packs, and its weft_segments: fields of 8 bytes each.
function writeDescriptor(
  { memory }: CpuContext<typeof CPU_WEIGHT_SYMBOLS>,
  { kind, segments, packed }: Storage,
  { outFeatures, inFeatures, blockSize }: Shape,
): bigint {
  const headFields = 8;
  const packedFields = packed?.fields ?? [];
  const segmentFields = segments.flatMap(({ address, rows, rowStride, format }) => [
    address,
    BigInt(rows),
    BigInt(rowStride),
    BigInt(format),
  ]);
  const count = headFields + packedFields.length + segmentFields.length;
  const descriptor = memory.allocate(8 * count);
  const packedAddress = descriptor + BigInt(8 * headFields);
  const fields = BigInt64Array.of(
    KINDS[kind],
    BigInt(outFeatures),
    BigInt(inFeatures),
    BigInt(blockSize),
    packedAddress + BigInt(8 * packedFields.length),
    BigInt(segments.length),
    packed === null ? 0n : packedAddress,
    BigInt(packed?.tokenBytes ?? 0),
    ...packedFields,
    ...segmentFields,
  );
  memory.upload(descriptor, fields);
  return descriptor;
}
