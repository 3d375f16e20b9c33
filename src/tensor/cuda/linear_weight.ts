/**
 * Weights of linear layers in the memory of a GPU.
 * @module
 */
import { dtypeBytes, type WeightDType } from "../dtype.ts";
import {
  type HostMatrix,
  isQuantized,
  type LinearWeight,
  type WeightOptions,
  type WeightPart,
} from "../linear_kernels.ts";
import type { CudaContext } from "./context.ts";
import type { ConversionTarget, Convert } from "./convert.ts";
import type { CudaMemory } from "./memory.ts";

/** Bytes that kernels read at once: rows begin at multiples of it. */
export const VECTOR_BYTES = 16;

/** Device memory that parts are uploaded to before they are converted. */
const STAGING_BYTES = 32 << 20;

/** What making a weight takes. */
export interface CudaWeightContext {
  /** The GPU. */
  readonly context: CudaContext;
  /** Its conversions. */
  readonly convert: Convert;
}

/** A matrix `[outFeatures, inFeatures]` whose rows are padded with zeros to whole vectors. */
export class CudaLinearWeight implements LinearWeight {
  readonly format: WeightDType;
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** Address of element [0, 0], a multiple of 256. */
  readonly address: bigint;
  /** Elements between the starts of rows: `inFeatures`, rounded up to whole vectors. */
  readonly rowStride: number;
  readonly #memory: CudaMemory;
  readonly #owned: bigint[] = [];

  private constructor(
    memory: CudaMemory,
    format: WeightDType,
    shape: { readonly outFeatures: number; readonly inFeatures: number },
  ) {
    const vectorSize = VECTOR_BYTES / dtypeBytes(format);
    this.#memory = memory;
    this.format = format;
    this.outFeatures = shape.outFeatures;
    this.inFeatures = shape.inFeatures;
    this.rowStride = Math.ceil(shape.inFeatures / vectorSize) * vectorSize;
    this.address = memory.allocate(this.byteLength);
    this.own(this.address);
  }

  /** Bytes of the matrix with its padding. */
  get byteLength(): number {
    return this.outFeatures * this.rowStride * dtypeBytes(this.format);
  }

  /** Stacks `parts`, which have the same number of columns; they are not needed afterwards. */
  static from(
    { context, convert }: CudaWeightContext,
    parts: readonly WeightPart[],
    format: WeightDType,
    options: WeightOptions = {},
  ): CudaLinearWeight {
    if (options.quantization !== undefined || parts.some(isQuantized)) {
      throw new TypeError("Cannot make a quantised weight as the CUDA kernels have none yet");
    }
    const { memory, cudart, stream } = context;
    const outFeatures = parts.reduce((sum, { rows }) => sum + rows, 0);
    const inFeatures = parts[0].columns;
    const weight = new CudaLinearWeight(memory, format, { outFeatures, inFeatures });
    try {
      if (weight.rowStride !== inFeatures) {
        cudart.memsetAsync(weight.address, 0, BigInt(weight.byteLength), stream.handle);
      }
      let row = 0;
      for (const part of parts as readonly HostMatrix[]) {
        const address = weight.address + BigInt(row * weight.rowStride * dtypeBytes(format));
        const target = { address, dtype: format, rowStride: weight.rowStride };
        if (part.dtype === format && !part.transposed) uploadRows(memory, target, part);
        else convertPart(context, convert, target, part);
        row += part.rows;
      }
      return weight;
    } catch (error) {
      weight[Symbol.dispose]();
      throw error;
    }
  }

  /** Frees `address` with this weight. */
  own(address: bigint): void {
    this.#owned.push(address);
  }

  /** Frees the matrix. */
  [Symbol.dispose](): void {
    for (const address of this.#owned) this.#memory.free(address);
  }
}

/** A weight of this backend; throws TypeError for one that another device made. */
export function cudaWeight(weight: LinearWeight): CudaLinearWeight {
  if (!(weight instanceof CudaLinearWeight)) {
    throw new TypeError("Cannot run a CUDA kernel as the weight belongs to another device");
  }
  return weight;
}

type HostRows = Pick<HostMatrix, "address" | "dtype" | "rows" | "columns" | "rowStride">;

/** Copies rows as they are, at once where nothing lies between them. */
function uploadRows(
  memory: CudaMemory,
  target: { readonly address: bigint; readonly rowStride: number },
  source: HostRows,
): void {
  const { rows, columns, rowStride } = source;
  const bytes = dtypeBytes(source.dtype);
  if (rowStride === columns && target.rowStride === columns) {
    memory.uploadFrom(target.address, source.address, rows * columns * bytes);
    return;
  }
  const targetStride = BigInt(target.rowStride * bytes);
  const sourceStride = BigInt(rowStride * bytes);
  for (let row = 0n; row < rows; row++) {
    memory.uploadFrom(
      target.address + row * targetStride,
      source.address + row * sourceStride,
      columns * bytes,
    );
  }
}

/** Uploads some rows at a time as they are stored, and converts them from there. */
function convertPart(
  context: CudaContext,
  convert: Convert,
  target: ConversionTarget,
  part: HostMatrix,
): void {
  const { memory, stream } = context;
  const { dtype, rowStride, transposed = false } = part;
  const [rows, columns] = transposed ? [part.columns, part.rows] : [part.rows, part.columns];
  if (rows === 0 || columns === 0) return;
  const bytes = dtypeBytes(dtype);
  const chunkRows = Math.min(rows, Math.max(1, Math.floor(STAGING_BYTES / (columns * bytes))));
  const staging = memory.allocate(chunkRows * columns * bytes);
  try {
    for (let row = 0; row < rows; row += chunkRows) {
      const count = Math.min(chunkRows, rows - row);
      const address = part.address + BigInt(row) * BigInt(rowStride * bytes);
      uploadRows(memory, { address: staging, rowStride: columns }, {
        address,
        dtype,
        rows: count,
        columns,
        rowStride,
      });
      const skipped = transposed ? row : row * target.rowStride;
      const out = {
        ...target,
        address: target.address + BigInt(skipped * dtypeBytes(target.dtype)),
      };
      const staged = { address: staging, dtype };
      if (transposed) {
        convert(out, { ...staged, rowStride: 1, columnStride: columns }, {
          rows: columns,
          columns: count,
        });
      } else {
        convert(out, { ...staged, rowStride: columns }, { rows: count, columns });
      }
    }
  } finally {
    // Kernels read weights before they wait for the kernels ahead of them, such as these.
    stream.synchronize();
    memory.free(staging);
  }
}
