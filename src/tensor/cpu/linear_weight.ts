/**
 * Weights of linear layers as the CPU kernels read them.
 * @module
 */
import type { CpuContext } from "./context.ts";
import type { CpuMemory } from "./memory.ts";
import { type DType, dtypeBytes, type WeightDType } from "../dtype.ts";
import {
  type HostMatrix,
  isQuantized,
  type LinearWeight,
  weightDtype,
  type WeightOptions,
  type WeightPart,
} from "../linear_kernels.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_WEIGHT_SYMBOLS = {
  // void weft_convert_matrix(weft_pool* pool, void* out, int32_t out_format, const void* source,
  //                          int32_t source_format, int32_t rows, int32_t columns,
  //                          int32_t row_stride, int32_t column_stride)
  weft_convert_matrix: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32", "i32", "i32"],
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;

// WEFT_F32, WEFT_F16 and WEFT_BF16 of native/cpu/simd.h.
const FORMATS: Readonly<Record<WeightDType, number>> = { f32: 0, f16: 1, bf16: 2 };

/** The kernels' number for a stored type; throws TypeError where it is not one for weights. */
export function weightFormat(dtype: DType): number {
  return FORMATS[weightDtype(dtype)];
}

interface Segment {
  readonly address: bigint;
  readonly rows: number;
  readonly rowStride: number;
  readonly format: number;
}

/**
 * A weight of row-stacked segments. A part stays where it lies (usually a mapped file, which must
 * outlive the weight) when its stored type is the wanted one, or when f32 is wanted: the kernels widen
 * f16 and bf16 in registers. Other parts, and transposed ones, are copied once.
 */
export class CpuLinearWeight implements LinearWeight {
  readonly format: WeightDType;
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** Address of the kernels' `weft_weight` (native/cpu/linear.h). */
  readonly descriptor: bigint;
  readonly #memory: CpuMemory;
  readonly #owned: readonly bigint[];

  private constructor(
    memory: CpuMemory,
    format: WeightDType,
    shape: { outFeatures: number; inFeatures: number },
    allocations: { descriptor: bigint; owned: readonly bigint[] },
  ) {
    this.#memory = memory;
    this.format = format;
    this.outFeatures = shape.outFeatures;
    this.inFeatures = shape.inFeatures;
    this.descriptor = allocations.descriptor;
    this.#owned = allocations.owned;
  }

  /** Stacks `parts`, which have the same number of columns. */
  static from(
    context: CpuContext<typeof CPU_WEIGHT_SYMBOLS>,
    parts: readonly WeightPart[],
    format: WeightDType,
    options: WeightOptions = {},
  ): CpuLinearWeight {
    if (options.quantization !== undefined || parts.some(isQuantized)) {
      throw new TypeError("Cannot make a quantised weight as the CPU kernels have none yet");
    }
    const dense = parts as readonly HostMatrix[];
    const outFeatures = parts.reduce((sum, { rows }) => sum + rows, 0);
    const inFeatures = parts[0].columns;
    const owned: bigint[] = [];
    try {
      const segments = dense.map((part) => toSegment(context, part, format, owned));
      const descriptor = writeDescriptor(context.memory, segments, {
        outFeatures,
        inFeatures,
        blockSize: options.blockSize ?? 0,
      });
      return new CpuLinearWeight(context.memory, format, { outFeatures, inFeatures }, {
        descriptor,
        owned: [...owned, descriptor],
      });
    } catch (error) {
      for (const address of owned) context.memory.free(address);
      throw error;
    }
  }

  /** Frees the copies; mapped parts are left alone. */
  [Symbol.dispose](): void {
    for (const address of this.#owned) this.#memory.free(address);
  }
}

/** Address of a weight's `weft_weight`; throws TypeError for a weight that another device made. */
export function descriptorOf(weight: LinearWeight): bigint {
  if (!(weight instanceof CpuLinearWeight)) {
    throw new TypeError("Cannot run a CPU kernel as the weight belongs to another device");
  }
  return weight.descriptor;
}

function toSegment(
  context: CpuContext<typeof CPU_WEIGHT_SYMBOLS>,
  part: HostMatrix,
  format: WeightDType,
  owned: bigint[],
): Segment {
  const { rows, columns, rowStride, transposed = false } = part;
  const stored = weightFormat(part.dtype);
  if (!transposed && (part.dtype === format || format === "f32")) {
    return { address: part.address, rows, rowStride, format: stored };
  }
  // A transposed f16 or bf16 part that is wanted as f32 is copied as it is: half the bytes to read.
  const kept = format === "f32" ? part.dtype : format;
  const address = context.memory.allocate(rows * columns * dtypeBytes(kept));
  owned.push(address);
  context.kernels.weft_convert_matrix(
    context.pool,
    address,
    weightFormat(kept),
    part.address,
    stored,
    rows,
    columns,
    transposed ? 1 : rowStride,
    transposed ? rowStride : 1,
  );
  return { address, rows, rowStride: columns, format: weightFormat(kept) };
}

// A weft_weight, then its weft_segments: fields of 8 bytes each.
function writeDescriptor(
  memory: CpuMemory,
  segments: readonly Segment[],
  shape: { outFeatures: number; inFeatures: number; blockSize: number },
): bigint {
  const fields = new BigInt64Array(5 + 4 * segments.length);
  const descriptor = memory.allocate(fields.byteLength);
  fields.set([
    descriptor + 40n,
    BigInt(segments.length),
    BigInt(shape.outFeatures),
    BigInt(shape.inFeatures),
    BigInt(shape.blockSize),
  ]);
  segments.forEach(({ address, rows, rowStride, format }, i) => {
    fields.set([address, BigInt(rows), BigInt(rowStride), BigInt(format)], 5 + 4 * i);
  });
  memory.upload(descriptor, fields);
  return descriptor;
}
