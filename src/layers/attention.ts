/**
 * Self-attention over a paged KV cache, divided by heads over tensor-parallel ranks.
 * @module
 */
import type {
  AttentionShape,
  BatchTensors,
  KvCacheLayer,
  QueryKeyTransform,
} from "../tensor/attention_kernels.ts";
import { Tensor } from "../tensor/tensor.ts";
import { RmsNorm } from "./norm.ts";
import { headFeatures, type HeadShard } from "./partition.ts";
import { QkvParallelLinear } from "./qkv_parallel_linear.ts";
import type { RotaryEmbedding } from "./rotary_embedding.ts";
import { RowParallelLinear } from "./row_parallel_linear.ts";
import type { LayerContext } from "./weight_source.ts";

/** Describes an attention layer. */
export interface AttentionConfig {
  /** Names of the query, key and value projections, or of one fused projection. */
  readonly qkvNames: readonly [string, string, string] | readonly [string];
  /** Name of the output projection. */
  readonly outputName: string;
  /** Names of the norms over each query and key head, where the model has them. */
  readonly headNorms?: { readonly query: string; readonly key: string; readonly epsilon: number };
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Query heads of the whole model. */
  readonly numHeads: number;
  /** Key/value heads of the whole model. */
  readonly numKvHeads: number;
  /** Elements per head. */
  readonly headDim: number;
  /** Whether the query, key and value projections have biases. */
  readonly qkvBias: boolean;
  /** Whether the output projection has a bias. */
  readonly outputBias: boolean;
  /** Projections are stored as `[inFeatures, outFeatures]`. */
  readonly transposed?: boolean;
  /** Keys a query sees, itself included; 0 means all. */
  readonly slidingWindow: number;
}

/** Counts of a flattened batch and its tensors. */
export interface AttentionBatch {
  /** Tokens in use. */
  readonly tokens: number;
  /** Sequences in use. */
  readonly sequences: number;
  /** Positions, cache slots and block tables. */
  readonly tensors: BatchTensors;
}

/** Buffers that every attention layer of a rank can share. */
export interface AttentionBuffers {
  /** `[maxRows, qkv features of the rank]`. */
  readonly qkv: Tensor;
  /** `[maxRows, query features of the rank]`. */
  readonly context: Tensor;
}

/** Projections, rotary embedding, cache write, attention, and output projection of one layer. */
export class Attention implements Disposable {
  /** Heads of this rank. */
  readonly heads: HeadShard;
  readonly #context: LayerContext;
  readonly #headDim: number;
  readonly #qkv: QkvParallelLinear;
  readonly #output: RowParallelLinear;
  readonly #norms: readonly RmsNorm[];
  readonly #transform: QueryKeyTransform;
  readonly #shape: AttentionShape;
  #cache: KvCacheLayer | null = null;
  // The same buffers arrive with every step: their column views are made once.
  #views: { buffers: AttentionBuffers; queries: Tensor; keys: Tensor; values: Tensor } | null =
    null;

  /** Reads the layer's weights; `rotary` is null where positions are learned. */
  constructor(context: LayerContext, config: AttentionConfig, rotary: RotaryEmbedding | null) {
    const { numHeads, numKvHeads, headDim, hiddenSize } = config;
    this.#context = context;
    this.#headDim = headDim;
    this.#qkv = new QkvParallelLinear(context, {
      names: config.qkvNames,
      inFeatures: hiddenSize,
      numHeads,
      numKvHeads,
      headDim,
      bias: config.qkvBias,
      transposed: config.transposed,
    });
    this.heads = this.#qkv.heads;
    this.#output = new RowParallelLinear(context, {
      name: config.outputName,
      inFeatures: numHeads * headDim,
      outFeatures: hiddenSize,
      bias: config.outputBias,
      transposed: config.transposed,
      shard: headFeatures(this.heads, { numHeads, headDim }),
    });
    const headNorms = config.headNorms ? loadHeadNorms(context, config) : null;
    this.#norms = headNorms?.norms ?? [];
    this.#transform = { headNorms: headNorms?.weights ?? null, rotary };
    this.#shape = {
      numHeads: this.heads.numHeads,
      numKvHeads: this.heads.numKvHeads,
      kvHeadOfHead: kvHeadTable(context, this.heads, numHeads / numKvHeads),
      headDim,
      scale: 1 / Math.sqrt(headDim),
      slidingWindow: config.slidingWindow,
    };
  }

  /** Columns of the buffers that `forward` needs. */
  get bufferWidths(): { qkv: number; context: number } {
    return { qkv: this.#qkv.outFeatures, context: this.heads.numHeads * this.#headDim };
  }

  /** Allocates the layer's KV cache; one that it had before is freed. */
  allocateCache(numBlocks: number): void {
    const { device, activationDtype = "f32", kvCacheDtype } = this.#context;
    this.#freeCache();
    this.#cache = device.kvCache(numBlocks, {
      ...this.#shape,
      dtype: kvCacheDtype ?? activationDtype,
    });
  }

  /** `out = attention(x)`, both `[tokens, hiddenSize]`. */
  forward(out: Tensor, x: Tensor, batch: AttentionBatch, buffers: AttentionBuffers): void {
    const { device } = this.#context;
    const { tokens, tensors } = batch;
    const cache = this.#cache;
    if (!cache) throw new Error("Cannot run attention as its KV cache has not been allocated");
    const views = this.#viewsOf(buffers);
    this.#qkv.forward(buffers.qkv, x, tokens);
    device.rotateAndCache(cache, views, tensors, tokens, this.#shape, this.#transform);
    device.pagedAttention(buffers.context, views.queries, cache, tensors, batch, this.#shape);
    this.#output.forward(out, buffers.context, tokens);
  }

  #viewsOf(buffers: AttentionBuffers): { queries: Tensor; keys: Tensor; values: Tensor } {
    if (this.#views?.buffers === buffers) return this.#views;
    const queryWidth = this.heads.numHeads * this.#headDim;
    const kvWidth = this.heads.numKvHeads * this.#headDim;
    this.#views = {
      buffers,
      queries: buffers.qkv.columns(0, queryWidth),
      keys: buffers.qkv.columns(queryWidth, kvWidth),
      values: buffers.qkv.columns(queryWidth + kvWidth, kvWidth),
    };
    return this.#views;
  }

  /** Frees weights and cache. */
  [Symbol.dispose](): void {
    this.#qkv[Symbol.dispose]();
    this.#output[Symbol.dispose]();
    for (const norm of this.#norms) norm[Symbol.dispose]();
    this.#shape.kvHeadOfHead[Symbol.dispose]();
    this.#freeCache();
  }

  #freeCache(): void {
    this.#cache?.keys[Symbol.dispose]();
    this.#cache?.values[Symbol.dispose]();
    this.#cache = null;
  }
}

function loadHeadNorms(context: LayerContext, { headNorms, headDim: size }: AttentionConfig) {
  const { query: queryName, key: keyName, epsilon } = headNorms!;
  const query = new RmsNorm(context, { name: queryName, size, epsilon });
  const key = new RmsNorm(context, { name: keyName, size, epsilon });
  return { norms: [query, key], weights: { query: query.weight, key: key.weight, epsilon } };
}

function kvHeadTable(context: LayerContext, heads: HeadShard, group: number): Tensor {
  const table = Tensor.allocate(context.device, { shape: [heads.numHeads], dtype: "i32" });
  table.upload(
    Int32Array.from(
      { length: heads.numHeads },
      (_, head) => Math.floor((heads.firstHead + head) / group) - heads.firstKvHead,
    ),
  );
  return table;
}
