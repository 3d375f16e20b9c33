/**
 * Products grouped by expert, with weights of 4 and 8 bits: `native/cuda/quantized_matrix.cu`.
 * @module
 */
import { dtypeBytes } from "../dtype.ts";
import type { ExpertKernels } from "../expert_kernels.ts";
import type { LinearWeight } from "../linear_kernels.ts";
import type { CudaContext } from "./context.ts";
import type { Convert } from "./convert.ts";
import { haveSameOrder } from "./input_layout.ts";
import { kernelsByPair } from "./kernels_by_pair.ts";
import { type PackedMatrix, segmentShift } from "./packed_matrix.ts";
import { cudaQuantizedInputs } from "./quantized_input.ts";
import { matrixSharedBytes, MAX_MATRIX_SHARED_BYTES } from "./quantized_linear.ts";
import { CudaQuantizedWeight } from "./quantized_weight.ts";

// kThreads, kOutputs and kRows of quantized_matrix.cu.
const THREADS = 128;
const OUTPUTS = 64;
const TILE_ROWS = { f32: 16, bf16: 64, f16: 64 } as const;

/** A matrix of each expert, and where kernels find them all. */
interface ExpertMatrices {
  /** The first expert's; the others are like it. */
  readonly matrix: PackedMatrix;
  /** Address of each expert's addresses of values and segments. */
  readonly table: bigint;
}

/** Products grouped by expert; the weights are all quantised. */
export function cudaQuantizedGroupedLinear(
  context: CudaContext,
  convert: Convert,
): ExpertKernels["groupedLinear"] {
  const { memory } = context;
  const inputs = cudaQuantizedInputs(context, convert);
  const product = kernelsByPair(context, "quantized_grouped_linear", [
    ...["pointer", "i32", "i32"] as const, // out
    ...["pointer", "i32"] as const, // x
    ...["pointer", "i32", "u32"] as const, // weights
    ...["pointer", "pointer", "i32", "i32"] as const, // experts
    ...["i32", "i32", "i32"] as const,
  ], MAX_MATRIX_SHARED_BYTES);
  // Weights do not change while a model lives: their addresses are uploaded once a layer.
  const known = new WeakMap<readonly LinearWeight[], readonly ExpertMatrices[]>();

  function expertMatrices(weights: readonly CudaQuantizedWeight[]): readonly ExpertMatrices[] {
    let matrices = known.get(weights);
    if (matrices === undefined) {
      checkAlike(weights);
      matrices = weights[0].matrices.map((matrix, index) => {
        const addresses = weights.flatMap((weight) => {
          const { values, segments } = weight.matrices[index];
          return [values, segments];
        });
        const table = memory.allocate(8 * addresses.length);
        weights[0].own(table);
        memory.upload(table, BigUint64Array.from(addresses));
        return { matrix, table };
      });
      known.set(weights, matrices);
    }
    return matrices;
  }

  return (out, x, weights, order, offsets, { pairs, inputDivisor }) => {
    const experts = quantizedExperts(weights);
    const { compute } = experts[0];
    const sources = inputDivisor === 0 ? pairs : Math.ceil(pairs / inputDivisor);
    for (const { matrix, table } of expertMatrices(experts)) {
      const workspace = context.workspace(inputs.bytes(x, matrix, compute, sources));
      const input = inputs.prepare(x, matrix, compute, { rows: sources, workspace });
      const tiles = Math.floor(pairs / TILE_ROWS[compute]) + Math.min(pairs, weights.length);
      product(matrix.format, compute).launch({
        grid: [tiles, Math.ceil(matrix.outFeatures / OUTPUTS)],
        threads: THREADS,
        sharedBytes: matrixSharedBytes(matrix.format, compute),
      }, [
        out.address + BigInt(matrix.firstOutput * dtypeBytes(out.dtype)),
        out.rowStride,
        out.dtype === "f32" ? 1 : 0,
        input.address,
        input.rowStride,
        table,
        segmentShift(matrix),
        matrix.zeroMask,
        order.address,
        offsets.address,
        weights.length,
        inputDivisor,
        matrix.outFeatures,
        input.columns,
        matrix.layout.inputs,
      ]);
    }
  };
}

function quantizedExperts(weights: readonly LinearWeight[]): readonly CudaQuantizedWeight[] {
  const isQuantized = (weight: LinearWeight) => weight instanceof CudaQuantizedWeight;
  if (weights.every(isQuantized)) return weights as readonly CudaQuantizedWeight[];
  throw new TypeError("Cannot run groupedLinear as an expert belongs to another device");
}

/** Rows of x are sorted once for all experts. */
function checkAlike(weights: readonly CudaQuantizedWeight[]): void {
  const [first] = weights;
  for (const [expert, { compute, matrices }] of weights.entries()) {
    const isAlike = compute === first.compute && matrices.length === first.matrices.length &&
      matrices.every(({ outFeatures, zeroMask, layout }, index) => {
        const other = first.matrices[index];
        return outFeatures === other.outFeatures && zeroMask === other.zeroMask &&
          haveSameOrder(layout, other.layout);
      });
    if (!isAlike) {
      throw new RangeError(
        `Cannot run groupedLinear on a GPU as expert ${expert} differs from expert 0: in the order of its ` +
          "inputs (act-order), its zeros or the type of its rows",
      );
    }
  }
}
