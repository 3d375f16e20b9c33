/**
 * Rows as products with quantised weights read them: in the weight's order, padded where it is.
 * @module
 */
import { dtypeBytes, type WeightDType } from "../dtype.ts";
import type { Tensor } from "../tensor.ts";
import type { CudaContext } from "./context.ts";
import type { Convert } from "./convert.ts";
import { kernelsByDtype } from "./kernels_by_dtype.ts";
import { VECTOR_BYTES } from "./linear_weight.ts";
import { type PackedMatrix, rowThreads } from "./packed_matrix.ts";
import { WORKSPACE_ALIGNMENT } from "./product_input.ts";

/** Columns that a lane reads at once. */
const LANE_INPUTS = 8;

/** Rows that a product with a quantised weight can read. */
export interface QuantizedInput {
  /** Address of element [0, 0], a multiple of 16. */
  readonly address: bigint;
  /** Elements between the starts of rows, a multiple of 16 bytes. */
  readonly rowStride: number;
  /** Columns, a multiple of 8; behind them rows count as zero. */
  readonly columns: number;
}

/** Makes rows readable for products. */
export interface QuantizedInputs {
  /** Bytes of workspace that {@linkcode prepare} needs: 0 when `x` can be read where it lies. */
  bytes(x: Tensor, matrix: PackedMatrix, compute: WeightDType, rows: number): number;
  /** `x` as it is, or converted to `compute`, sorted and padded in `workspace`. */
  prepare(
    x: Tensor,
    matrix: PackedMatrix,
    compute: WeightDType,
    options: { readonly rows: number; readonly workspace: bigint },
  ): QuantizedInput;
}

/** The `gather_inputs_*` kernels of `native/cuda/quantize.cu`, and conversions. */
export function cudaQuantizedInputs(context: CudaContext, convert: Convert): QuantizedInputs {
  const gather = kernelsByDtype(context, "gather_inputs", [
    ...["pointer", "pointer", "i32"] as const,
    ...["pointer", "i32"] as const,
  ]);
  const paddedBytes = ({ layout }: PackedMatrix, compute: WeightDType, rows: number) => {
    const bytes = rows * layout.inputs * dtypeBytes(compute);
    return Math.ceil(bytes / WORKSPACE_ALIGNMENT) * WORKSPACE_ALIGNMENT;
  };
  const needsConversion = (x: Tensor, matrix: PackedMatrix, compute: WeightDType) =>
    matrix.layout.order === null || x.dtype !== compute;

  return {
    bytes(x, matrix, compute, rows) {
      if (isReadable(x, matrix, compute)) return 0;
      const steps = matrix.layout.order !== null && needsConversion(x, matrix, compute) ? 2 : 1;
      return steps * paddedBytes(matrix, compute, rows);
    },

    prepare(x, matrix, compute, { rows, workspace }) {
      const { inFeatures, layout, order } = matrix;
      const { inputs } = layout;
      if (isReadable(x, matrix, compute)) {
        return { address: x.address, rowStride: x.rowStride, columns: inFeatures };
      }
      const prepared = { address: workspace, rowStride: inputs, columns: inputs };
      let source: Pick<Tensor, "address" | "rowStride"> = x;
      if (needsConversion(x, matrix, compute)) {
        const address = layout.order === null
          ? workspace
          : workspace + BigInt(paddedBytes(matrix, compute, rows));
        const converted = { address, dtype: compute, rowStride: inputs };
        convert(converted, x, { rows, columns: inFeatures, paddedColumns: inputs });
        if (layout.order === null) return prepared;
        source = converted;
      }
      gather(compute).launch(rowThreads(rows, inputs), [
        workspace,
        source.address,
        source.rowStride,
        order,
        inputs,
      ]);
      return prepared;
    },
  };
}

function isReadable(x: Tensor, { layout, inFeatures }: PackedMatrix, compute: WeightDType) {
  return layout.order === null && x.dtype === compute && inFeatures % LANE_INPUTS === 0 &&
    x.rowStride * dtypeBytes(x.dtype) % VECTOR_BYTES === 0 &&
    x.address % BigInt(VECTOR_BYTES) === 0n;
}
