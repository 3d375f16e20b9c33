/**
 * The kernels of `native/cuda/grouped_linear.cu`: products grouped by expert.
 * @module
 */
import type { ExpertKernels } from "../expert_kernels.ts";
import type { LinearWeight } from "../linear_kernels.ts";
import type { CudaContext } from "./context.ts";
import { cudaConvert } from "./convert.ts";
import { kernelsByPair } from "./kernels_by_pair.ts";
import type { CudaLinearWeight } from "./linear_weight.ts";
import { productInput, productInputBytes } from "./product_input.ts";
import { cudaQuantizedGroupedLinear } from "./quantized_grouped_linear.ts";
import { CudaQuantizedWeight } from "./quantized_weight.ts";
import { checkOutputDtype, cudaWeight, denseRows } from "./weight.ts";

// kThreads, kOutputs and kStages of grouped_linear.cu, and the bytes of a row in a stage.
const THREADS = 128;
const OUTPUTS = 64;
const STAGES = 3;
const ROW_BYTES = 128;

/** Rows of a tile: few when the average expert has few. */
const TILE_ROWS = [16, 64] as const;

/**
 * Products grouped by expert. Where experts begin is known on the device only, so the grid has as many
 * tiles of rows as there can be. `blockSize` has no effect, as in `cudaLinearKernels`.
 */
export function cudaGroupedLinear(context: CudaContext): ExpertKernels["groupedLinear"] {
  const { memory } = context;
  const convert = cudaConvert(context);
  const quantized = cudaQuantizedGroupedLinear(context, convert);
  const [few, many] = TILE_ROWS.map((rows) => {
    const sharedBytes = STAGES * (rows + OUTPUTS) * ROW_BYTES;
    const kernel = kernelsByPair(context, `grouped_linear${rows}`, [
      ...["pointer", "i32"] as const, // out
      ...["pointer", "i32"] as const, // x
      ...["pointer", "pointer", "pointer"] as const, // weights, order, offsets
      ...["i32", "i32", "i32", "i32"] as const,
    ], sharedBytes);
    return { rows, sharedBytes, kernel };
  });
  // Weights do not change while a model lives: their addresses are uploaded once a layer.
  const addressTables = new WeakMap<readonly LinearWeight[], bigint>();

  function addressTable(weights: readonly LinearWeight[], first: CudaLinearWeight): bigint {
    const known = addressTables.get(weights);
    if (known !== undefined) return known;
    const addresses = BigUint64Array.from(weights, (weight) => denseRows(weight).address);
    const table = memory.allocate(addresses.byteLength);
    first.own(table);
    memory.upload(table, addresses);
    addressTables.set(weights, table);
    return table;
  }

  return (out, x, weights, order, offsets, { pairs, inputDivisor }) => {
    if (pairs === 0) return;
    const weight = cudaWeight(weights[0]);
    checkOutputDtype("groupedLinear", out.dtype, weight);
    if (weight instanceof CudaQuantizedWeight) {
      return quantized(out, x, weights, order, offsets, { pairs, inputDivisor });
    }
    const sources = inputDivisor === 0 ? pairs : Math.ceil(pairs / inputDivisor);
    const workspace = context.workspace(productInputBytes(x, weight, sources));
    const input = productInput(convert, x, weight, sources, workspace);
    const { rows, sharedBytes, kernel } = pairs > TILE_ROWS[0] * weights.length ? many : few;
    const tiles = Math.floor(pairs / rows) + Math.min(pairs, weights.length);
    kernel(weight.format, out.dtype).launch({
      grid: [tiles, Math.ceil(weight.outFeatures / OUTPUTS)],
      threads: THREADS,
      sharedBytes,
    }, [
      out.address,
      out.rowStride,
      input.address,
      input.rowStride,
      addressTable(weights, weight),
      order.address,
      offsets.address,
      weights.length,
      inputDivisor,
      weight.outFeatures,
      weight.rowStride,
    ]);
  };
}
