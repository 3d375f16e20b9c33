/**
 * Query, key and value projections, divided by heads over tensor-parallel ranks.
 * @module
 */
import type { Tensor } from "../tensor/tensor.ts";
import { LocalLinear } from "./local_linear.ts";
import { type HeadShard, partitionHeads } from "./partition.ts";
import type { LayerContext } from "./weight_source.ts";

/** Describes the query, key and value projections of an attention layer. */
export interface QkvConfig {
  /** Names of three layers, or of one whose rows are queries, keys and values in that order. */
  readonly names: readonly [string, string, string] | readonly [string];
  /** Columns of the weights. */
  readonly inFeatures: number;
  /** Query heads of the whole model. */
  readonly numHeads: number;
  /** Key/value heads of the whole model. */
  readonly numKvHeads: number;
  /** Elements per head. */
  readonly headDim: number;
  /** Whether there are biases. */
  readonly bias?: boolean;
  /** Stored as `[inFeatures, outFeatures]`. */
  readonly transposed?: boolean;
}

/**
 * Query, key and value projections as one column-parallel layer: rank i holds its query heads and
 * every key/value head that they read, so key/value heads are replicated where ranks outnumber them.
 */
export class QkvParallelLinear implements Disposable {
  /** Heads of this rank. */
  readonly heads: HeadShard;
  /** Columns that `forward` writes: queries, then keys, then values. */
  readonly outFeatures: number;
  readonly #linear: LocalLinear;

  /** Reads this rank's heads; throws RangeError when the query heads do not divide. */
  constructor(context: LayerContext, config: QkvConfig) {
    const { rank, size: parts } = context.tensorParallel;
    this.heads = partitionHeads(config, { rank, parts });
    const { numHeads, numKvHeads, headDim, names } = config;
    const queries = { start: this.heads.firstHead, count: this.heads.numHeads, of: numHeads };
    const keys = { start: this.heads.firstKvHead, count: this.heads.numKvHeads, of: numKvHeads };
    const sections = [queries, keys, keys];
    const fused = names.length === 1;
    const fusedRows = (numHeads + 2 * numKvHeads) * headDim;
    let firstRow = 0;
    const slices = sections.map((section, i) => {
      const slice = {
        config: {
          name: fused ? names[0] : names[i],
          inFeatures: config.inFeatures,
          outFeatures: fused ? fusedRows : section.of * headDim,
          bias: config.bias,
          transposed: config.transposed,
        },
        start: firstRow + section.start * headDim,
        count: section.count * headDim,
      };
      if (fused) firstRow += section.of * headDim;
      return slice;
    });
    this.outFeatures = slices.reduce((sum, slice) => sum + slice.count, 0);
    this.#linear = LocalLinear.stack(context, slices);
  }

  /** `out` `[rows, outFeatures]`, `x` `[rows, inFeatures]`. */
  forward(out: Tensor, x: Tensor, rows: number): void {
    this.#linear.forward(out, x, rows);
  }

  /** Frees the weights. */
  [Symbol.dispose](): void {
    this.#linear[Symbol.dispose]();
  }
}
