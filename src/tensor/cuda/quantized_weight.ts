/**
 * Weights of 4 and 8 bits in the memory of a GPU.
 * @module
 */
import type { WeightDType } from "../dtype.ts";
import {
  type HostMatrix,
  isQuantized,
  type LinearWeight,
  type WeightOptions,
  type WeightPart,
} from "../linear_kernels.ts";
import { haveSameOrder } from "./input_layout.ts";
import { CudaLinearWeight, type CudaWeightContext } from "./linear_weight.ts";
import type { CudaMemory } from "./memory.ts";
import { type PackingPart, packingPart, weightPacker } from "./pack_weight.ts";
import { type PackedFormat, type PackedMatrix, rowBytes, rowSegments } from "./packed_matrix.ts";

/** The lowest bits of a segment's word, where its zero is kept (`native/cuda/quantized.cuh`). */
const ZERO_MASK = 0x1ff;

const WORD_BYTES = 4;

type Allocate = (byteLength: number) => bigint;

/** What a quantised weight is. */
interface QuantizedWeightParts {
  /** Width of the elements. */
  readonly format: PackedFormat;
  /** Type of the rows that it is multiplied with. */
  readonly compute: WeightDType;
  /** Rows. */
  readonly outFeatures: number;
  /** Columns. */
  readonly inFeatures: number;
  /** Its rows, in order: several where parts have their inputs in different orders. */
  readonly matrices: readonly PackedMatrix[];
  /** The rows as they were, when they are also looked up. */
  readonly table: CudaLinearWeight | null;
}

/** A weight of 4 or 8 bits. */
export class CudaQuantizedWeight implements LinearWeight, QuantizedWeightParts {
  readonly format: PackedFormat;
  readonly compute: WeightDType;
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly matrices: readonly PackedMatrix[];
  readonly table: CudaLinearWeight | null;
  readonly #memory: CudaMemory;
  readonly #owned: DisposableStack;

  private constructor(parts: QuantizedWeightParts, memory: CudaMemory, owned: DisposableStack) {
    this.format = parts.format;
    this.compute = parts.compute;
    this.outFeatures = parts.outFeatures;
    this.inFeatures = parts.inFeatures;
    this.matrices = parts.matrices;
    this.table = parts.table;
    this.#memory = memory;
    this.#owned = owned;
  }

  /** Stacks `parts`, quantised or to be; they are not needed afterwards. */
  static from(
    weightContext: CudaWeightContext,
    parts: readonly WeightPart[],
    compute: WeightDType,
    options: WeightOptions = {},
  ): CudaQuantizedWeight {
    const { memory, stream } = weightContext.context;
    using owned = new DisposableStack();
    const allocate = allocator(memory, owned);
    const packing = parts.map((part) => packingPart(part, options));
    const matrices: PackedMatrix[] = [];
    let firstOutput = 0;
    for (const group of partsOfMatrices(packing)) {
      const matrix = emptyMatrix(group, firstOutput, allocate);
      using staging = new DisposableStack();
      const pack = weightPacker(weightContext, matrix, allocator(memory, staging));
      try {
        if (matrix.layout.order !== null) memory.upload(matrix.order, matrix.layout.order);
        let row = 0;
        for (const part of group) {
          pack(part, row);
          row += part.part.rows;
        }
      } finally {
        // Kernels read weights before they wait for the kernels ahead of them, such as these.
        stream.synchronize();
      }
      matrices.push(matrix);
      firstOutput += matrix.outFeatures;
    }
    const table = options.use === "both"
      ? owned.use(CudaLinearWeight.from(weightContext, denseParts(parts), compute))
      : null;
    const { format } = packing[0];
    const shape = { outFeatures: firstOutput, inFeatures: parts[0].columns };
    const made = { format, compute, ...shape, matrices, table };
    return new CudaQuantizedWeight(made, memory, owned.move());
  }

  /** Frees `address` with this weight. */
  own(address: bigint): void {
    this.#owned.defer(() => this.#memory.free(address));
  }

  /** Frees the matrices. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

function allocator(memory: CudaMemory, stack: DisposableStack): Allocate {
  return (byteLength) =>
    stack.adopt(memory.allocate(byteLength), (address) => memory.free(address));
}

function denseParts(parts: readonly WeightPart[]): HostMatrix[] {
  return parts.map((part) => {
    if (isQuantized(part)) {
      throw new TypeError("Cannot look rows of a weight up on a GPU as it is stored quantised");
    }
    return part;
  });
}

/** Neighbouring parts that fit into one matrix. */
function partsOfMatrices(parts: readonly PackingPart[]): PackingPart[][] {
  const groups: PackingPart[][] = [];
  for (const part of parts) {
    const last = groups.at(-1);
    const fits = last !== undefined && last[0].format === part.format &&
      last[0].hasZeros === part.hasZeros && haveSameOrder(last[0].layout, part.layout);
    if (fits) last.push(part);
    else groups.push([part]);
  }
  return groups;
}

function emptyMatrix(
  parts: readonly PackingPart[],
  firstOutput: number,
  allocate: Allocate,
): PackedMatrix {
  const { format, layout, hasZeros, part } = parts[0];
  const outFeatures = parts.reduce((sum, { part }) => sum + part.rows, 0);
  return {
    format,
    firstOutput,
    outFeatures,
    inFeatures: part.columns,
    layout,
    zeroMask: hasZeros ? ZERO_MASK : 0,
    values: allocate(outFeatures * rowBytes({ format, layout })),
    segments: allocate(WORD_BYTES * outFeatures * rowSegments({ layout })),
    order: layout.order === null ? 0n : allocate(layout.order.byteLength),
  };
}
