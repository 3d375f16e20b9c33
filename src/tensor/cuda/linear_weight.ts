/**
 * Weights of linear layers in the memory of a GPU.
 * @module
 */
import { dtypeBytes, type WeightDType } from "../dtype.ts";
import type { HostMatrix, LinearWeight } from "../linear_kernels.ts";
import type { CudaContext } from "./context.ts";
import type { Convert } from "./convert.ts";
import type { CudaMemory } from "./memory.ts";
import { uploadConverted, uploadRows } from "./upload_matrix.ts";

/** Bytes that kernels read at once: rows begin at multiples of it. */
export const VECTOR_BYTES = 16;

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
    parts: readonly HostMatrix[],
    format: WeightDType,
  ): CudaLinearWeight {
    const { memory, cudart, stream } = context;
    const outFeatures = parts.reduce((sum, { rows }) => sum + rows, 0);
    const inFeatures = parts[0].columns;
    const weight = new CudaLinearWeight(memory, format, { outFeatures, inFeatures });
    try {
      if (weight.rowStride !== inFeatures) {
        cudart.memsetAsync(weight.address, 0, BigInt(weight.byteLength), stream.handle);
      }
      let row = 0;
      for (const part of parts) {
        const address = weight.address + BigInt(row * weight.rowStride * dtypeBytes(format));
        const target = { address, dtype: format, rowStride: weight.rowStride };
        if (part.dtype === format && !part.transposed) uploadRows(memory, target, part);
        else uploadConverted(context, convert, target, part);
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
