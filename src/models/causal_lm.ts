/**
 * A decoder-only language model, or the part of one that a pipeline stage holds.
 * @module
 */
import type { Communicator } from "../distributed/communicator.ts";
import type { Attention, AttentionBatch, AttentionBuffers } from "../layers/attention.ts";
import type { FeedForward } from "../layers/mlp.ts";
import type { Norm } from "../layers/norm.ts";
import type { ParallelLmHead, VocabShard } from "../layers/vocab_parallel.ts";
import type { Device } from "../tensor/device.ts";
import type { WeightDType } from "../tensor/dtype.ts";
import { Tensor } from "../tensor/tensor.ts";

/** One step's tokens as a model sees them. */
export interface ForwardBatch extends AttentionBatch {
  /** i32 `[tokens]`: token ids (used by the first stage only). */
  readonly ids: Tensor;
}

/** Token (and position) embedding of the first stage. */
export interface Embedding extends Disposable {
  /** Writes `out` `[batch.tokens, hiddenSize]`. */
  forward(out: Tensor, batch: ForwardBatch): void;
}

/** A pre-norm transformer layer. */
export interface DecoderLayer {
  /** Norm before attention. */
  readonly inputNorm: Norm;
  /** Self-attention. */
  readonly attention: Attention;
  /** Norm before the feed-forward layer. */
  readonly postAttentionNorm: Norm;
  /** Feed-forward layer. */
  readonly mlp: FeedForward;
}

/** What a family builds for one pipeline stage. */
export interface ModelParts {
  /** On the first stage. */
  readonly embedding: Embedding | null;
  /** Layers of the stage, in order. */
  readonly layers: readonly DecoderLayer[];
  /** On the last stage: the norm before the head. */
  readonly norm: Norm | null;
  /** On the last stage. */
  readonly head: ParallelLmHead | null;
  /** Anything else to free with the model. */
  readonly shared: readonly Disposable[];
}

/** Options of {@linkcode CausalLm}. */
export interface CausalLmOptions {
  /** Device that holds the activations. */
  readonly device: Device;
  /** Ranks that share each layer. */
  readonly tensorParallel: Communicator;
  /** Stages of the pipeline, in order. */
  readonly pipelineParallel: Communicator;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Type of the inputs of linear layers, and of what they give to the next one inside a layer. */
  readonly activationDtype: WeightDType;
  /** Tokens of the largest step. */
  readonly maxRows: number;
  /** Rows of logits computed at once. */
  readonly maxLogitRows: number;
}

/**
 * Runs one stage: receive or embed, the stage's layers, send. The last stage then computes logits for
 * the rows that are asked for. The residual stream is f32 and whole on every rank of a stage.
 */
export class CausalLm implements Disposable {
  /** `[maxLogitRows, vocabulary shard]` on the last stage: what {@linkcode computeLogits} fills. */
  readonly logits: Tensor | null = null;
  /** This rank's part of the vocabulary, on the last stage. */
  readonly vocab: VocabShard | null;
  readonly #parts: ModelParts;
  readonly #options: CausalLmOptions;
  readonly #residual: Tensor;
  readonly #normed: Tensor;
  readonly #delta: Tensor;
  readonly #selected: Tensor | null = null;
  readonly #selectedNormed: Tensor | null = null;
  readonly #attentionBuffers: AttentionBuffers;

  /** Allocates activations for `parts`. */
  constructor(parts: ModelParts, options: CausalLmOptions) {
    const { device, hiddenSize, activationDtype, maxRows, maxLogitRows } = options;
    this.#parts = parts;
    this.#options = options;
    const rows = (width: number) =>
      Tensor.allocate(device, { shape: [maxRows, width], dtype: activationDtype });
    // What each layer sums over the ranks.
    const memory = options.tensorParallel.reducedMemory?.(device) ?? device;
    this.#residual = Tensor.allocate(memory, { shape: [maxRows, hiddenSize] });
    this.#delta = Tensor.allocate(memory, { shape: [maxRows, hiddenSize] });
    this.#normed = rows(hiddenSize);
    const widths = parts.layers[0].attention.bufferWidths;
    this.#attentionBuffers = { qkv: rows(widths.qkv), context: rows(widths.context) };
    this.vocab = parts.head?.shard ?? null;
    if (this.vocab) {
      const { count, paddedCount } = this.vocab;
      const shape = [maxLogitRows, hiddenSize];
      this.#selected = Tensor.allocate(device, { shape });
      this.#selectedNormed = Tensor.allocate(device, { shape, dtype: activationDtype });
      this.logits = Tensor.allocate(device, { shape: [maxLogitRows, paddedCount] });
      // The head leaves the padding alone, so it stays -Infinity: never drawn, no part of any sum.
      const padding = new Float32Array(paddedCount - count).fill(-Infinity);
      for (let row = 0; row < maxLogitRows; row++) {
        device.upload(this.logits.address + BigInt(4 * (row * paddedCount + count)), padding);
      }
    }
  }

  /** Allocates the KV cache: `numBlocks` blocks in every layer, in place of those it had before. */
  allocateCache(numBlocks: number): void {
    for (const layer of this.#parts.layers) layer.attention.allocateCache(numBlocks);
  }

  /** Receives the residual stream of `tokens` tokens from the stage before, if there is one. */
  receive(tokens: number): void {
    const { pipelineParallel, hiddenSize } = this.#options;
    const { rank } = pipelineParallel;
    if (rank === 0) return;
    pipelineParallel.recv(this.#residual.address, tokens * hiddenSize, { peer: rank - 1 });
  }

  /** Sends the residual stream of `tokens` tokens to the stage after, if there is one. */
  send(tokens: number): void {
    const { pipelineParallel, hiddenSize } = this.#options;
    const { rank, size } = pipelineParallel;
    if (rank + 1 === size) return;
    pipelineParallel.send(this.#residual.address, tokens * hiddenSize, { peer: rank + 1 });
  }

  /**
   * Runs the stage's layers on a batch, between {@linkcode receive} and {@linkcode send}; on the last
   * stage {@linkcode computeLogits} may follow. Kernels only: it can be recorded.
   */
  forward(batch: ForwardBatch): void {
    const { device, hiddenSize } = this.#options;
    const { embedding, layers } = this.#parts;
    const { tokens } = batch;
    const residual = this.#residual, normed = this.#normed, delta = this.#delta;
    embedding?.forward(residual, batch);
    for (let index = 0; index < layers.length; index++) {
      const layer = layers[index];
      // Each block's output is added to the residual stream by the norm that follows it.
      if (index === 0) layer.inputNorm.forward(normed, residual, tokens);
      else layer.inputNorm.forward(normed, delta, tokens, residual);
      layer.attention.forward(delta, normed, batch, this.#attentionBuffers);
      layer.postAttentionNorm.forward(normed, delta, tokens, residual);
      layer.mlp.forward(delta, normed, tokens);
    }
    device.add(residual, residual, delta, tokens * hiddenSize);
  }

  /**
   * Last stage only: logits of the tokens `index` i32 `[rows]` of the batch that `forward` saw last,
   * at most `maxLogitRows` at once.
   */
  computeLogits(index: Tensor, rows: number): void {
    const { norm, head } = this.#parts;
    if (!norm || !head || !this.#selected || !this.#selectedNormed || !this.logits) {
      throw new Error("Cannot compute logits as this is not the last pipeline stage");
    }
    const { device, hiddenSize, maxLogitRows } = this.#options;
    if (rows > maxLogitRows) {
      throw new RangeError(
        `Cannot compute ${rows} rows of logits at once: limit is ${maxLogitRows}`,
      );
    }
    device.gatherRows(this.#selected, this.#residual, index, rows, hiddenSize);
    norm.forward(this.#selectedNormed, this.#selected, rows);
    head.forward(this.logits, this.#selectedNormed, rows);
  }

  /** Frees weights, activations and cache. */
  [Symbol.dispose](): void {
    const { embedding, layers, norm, head, shared } = this.#parts;
    for (const { inputNorm, attention, postAttentionNorm, mlp } of layers) {
      for (const part of [inputNorm, attention, postAttentionNorm, mlp]) part[Symbol.dispose]();
    }
    const { qkv, context } = this.#attentionBuffers;
    const buffers = [this.#residual, this.#normed, this.#delta, qkv, context];
    const optional = [
      head,
      norm,
      embedding,
      this.#selected,
      this.#selectedNormed,
      this.logits,
    ];
    for (const part of [...buffers, ...optional, ...shared]) part?.[Symbol.dispose]();
  }
}
