/**
 * Embedding and output head whose vocabulary is divided over tensor-parallel ranks.
 * @module
 */
import type { LinearWeight, WeightOptions } from "../tensor/linear_kernels.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { weightPart } from "./local_linear.ts";
import { REDUCTION_BLOCKS } from "./partition.ts";
import { type LayerContext, loadLinear, matrixSlice, type WeightSlice } from "./weight_source.ts";

/** The part of a vocabulary that one rank holds. */
export interface VocabShard {
  /** Entries of the whole vocabulary. */
  readonly vocabSize: number;
  /** First token id of this rank. */
  readonly firstId: number;
  /** Token ids of this rank that exist. */
  readonly count: number;
  /** Columns of this rank's logits, padding included: the same on every rank. */
  readonly paddedCount: number;
  /** Columns of one block of the log-sum-exp (NUMERICS.md 6). */
  readonly blockSize: number;
}

/**
 * Divides a vocabulary: it is padded to a multiple of 8 (and of the number of parts where that does
 * not divide 8), so that every rank's logits have one width. Padding is never a token.
 */
export function partitionVocab(
  vocabSize: number,
  options: { rank: number; parts: number },
): VocabShard {
  const { rank, parts } = options;
  const blocksOfRank = REDUCTION_BLOCKS % parts === 0 ? REDUCTION_BLOCKS / parts : REDUCTION_BLOCKS;
  const blockSize = Math.ceil(vocabSize / (blocksOfRank * parts));
  const paddedCount = blockSize * blocksOfRank;
  const firstId = rank * paddedCount;
  const count = Math.max(0, Math.min(paddedCount, vocabSize - firstId));
  return { vocabSize, firstId, count, paddedCount, blockSize };
}

/**
 * Token embedding with the rows of the table divided over the ranks: each rank looks up its own ids,
 * writes zeros for the others, and the sum over ranks is the embedding.
 */
export class VocabParallelEmbedding implements Disposable {
  /** Rows of this rank, `[shard.count, hiddenSize]`. */
  readonly weight: LinearWeight;
  /** Token ids of this rank. */
  readonly shard: VocabShard;
  readonly #context: LayerContext;
  readonly #hiddenSize: number;

  /** Reads this rank's rows of `<name>.weight`; `use`: what they serve, `table` when left out. */
  constructor(
    context: LayerContext,
    config: {
      readonly name: string;
      readonly vocabSize: number;
      readonly hiddenSize: number;
      readonly use?: WeightOptions["use"];
    },
  ) {
    const { rank, size: parts } = context.tensorParallel;
    const { name, vocabSize, hiddenSize, use = "table" } = config;
    this.#context = context;
    this.#hiddenSize = hiddenSize;
    this.shard = partitionVocab(vocabSize, { rank, parts });
    const table = context.weights.tensor(`${name}.weight`, [vocabSize, hiddenSize]);
    const rows = matrixSlice(table, rowsOf(this.shard));
    const quantization = use === "table" ? undefined : headQuantization(context);
    this.weight = loadLinear(context, [rows], { use, quantization });
  }

  /** `out` `[rows, hiddenSize]` contiguous, `ids` i32 `[rows]`. */
  forward(out: Tensor, ids: Tensor, rows: number): void {
    const { device, tensorParallel } = this.#context;
    device.embedding(out, ids, this.weight, rows, this.shard.firstId);
    if (tensorParallel.size > 1) tensorParallel.allReduce(out.address, rows * this.#hiddenSize);
  }

  /** Frees the table. */
  [Symbol.dispose](): void {
    this.weight[Symbol.dispose]();
  }
}

/**
 * Output head: hidden states to logits, each rank for its own token ids. The logits stay divided; what
 * sampling needs is exchanged by the sampler.
 */
export class ParallelLmHead implements Disposable {
  /** Token ids of this rank. */
  readonly shard: VocabShard;
  readonly #context: LayerContext;
  readonly #weight: LinearWeight;
  readonly #owned: boolean;

  /** Reads this rank's rows of `<name>.weight`, or shares the table of a `tied` embedding. */
  constructor(
    context: LayerContext,
    config: {
      readonly name: string;
      readonly vocabSize: number;
      readonly hiddenSize: number;
      readonly tied?: VocabParallelEmbedding;
    },
  ) {
    const { rank, size: parts } = context.tensorParallel;
    const { name, vocabSize, hiddenSize, tied } = config;
    this.#context = context;
    this.shard = partitionVocab(vocabSize, { rank, parts });
    this.#owned = !tied;
    if (tied) {
      this.#weight = tied.weight;
    } else {
      const layer = { name, inFeatures: hiddenSize, outFeatures: vocabSize };
      this.#weight = loadLinear(context, [weightPart(context, layer, rowsOf(this.shard))], {
        quantization: headQuantization(context),
      });
    }
  }

  /** `logits` `[rows, shard.paddedCount]`; columns past `shard.count` are left as they are. */
  forward(logits: Tensor, hidden: Tensor, rows: number): void {
    this.#context.device.linear(logits, hidden, this.#weight, rows);
  }

  /** Frees the weight unless it is an embedding's. */
  [Symbol.dispose](): void {
    if (this.#owned) this.#weight[Symbol.dispose]();
  }
}

function rowsOf({ vocabSize, firstId, count }: VocabShard): WeightSlice {
  return { firstRow: Math.min(firstId, vocabSize), rows: count };
}

/** The head has the last word: it gets 8 bits where the layers get fewer. */
function headQuantization({ quantization }: LayerContext): WeightOptions["quantization"] {
  return quantization === undefined ? undefined : "int8";
}
