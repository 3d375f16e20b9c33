/**
 * The device interface: memory, recording, and the kernels that models are made of.
 *
 * Layers and models see this interface only. Activations are `f32` tensors with a contiguous last
 * dimension; `rows` says how many leading rows of a buffer are in use. Kernels allocate nothing.
 * Every result's bits depend on the operands and on the device's instruction set, never on the
 * number of threads, on the other rows of the batch, or on how a prompt is cut into chunks.
 * @module
 */
import type { Tensor } from "./tensor.ts";
import type { DType, WeightDType } from "./dtype.ts";

/** Backend of a device. */
export type DeviceKind = "cpu" | "cuda";

/** A matrix slice in host memory (usually a mapped checkpoint). */
export interface HostMatrix {
  /** Host address of element [0, 0]. */
  readonly address: bigint;
  /** Type of the stored elements. */
  readonly dtype: DType;
  /** Output features. */
  readonly rows: number;
  /** Input features. */
  readonly columns: number;
  /** Elements between the starts of consecutive stored rows. */
  readonly rowStride: number;
  /** True when stored as [columns, rows] (GPT-2's Conv1D); `rowStride` is then that of the stored rows. */
  readonly transposed?: boolean;
}

/** A vector slice in host memory. */
export interface HostVector {
  /** Host address of element 0. */
  readonly address: bigint;
  /** Type of the stored elements. */
  readonly dtype: DType;
  /** Number of elements. */
  readonly length: number;
}

/**
 * Weight of a linear layer, `[outFeatures, inFeatures]`, as a device keeps it. On CPU it may lie in
 * the mapped checkpoint; only the device that made it looks at its segments.
 */
export interface LinearWeight extends Disposable {
  /** Storage format. */
  readonly format: WeightDType;
  /** Rows of the matrix. */
  readonly outFeatures: number;
  /** Columns of the matrix. */
  readonly inFeatures: number;
}

/** Options of {@linkcode Device.linear}. */
export interface LinearOptions {
  /** `f32 [outFeatures]`, added once. */
  readonly bias?: Tensor;
  /**
   * Input features per fixed block of the sum (NUMERICS.md 1): blocks are summed by one binary
   * tree. 0 or absent: a single block.
   */
  readonly blockSize?: number;
}

/** Geometry of one attention layer on this rank. */
export interface AttentionShape {
  /** Query heads held by this rank. */
  readonly numHeads: number;
  /** Key/value heads held by this rank. */
  readonly numKvHeads: number;
  /** Query head h reads key/value head `kvHeadOfHead[h]`; an i32 tensor `[numHeads]`. */
  readonly kvHeadOfHead: Tensor;
  /** Elements per head. */
  readonly headDim: number;
  /** Factor on the scores, usually 1/sqrt(headDim). */
  readonly scale: number;
  /** Keys a query sees, itself included; 0 means all. */
  readonly slidingWindow: number;
}

/** The cached keys and values of one layer; their layout is private to the device. */
export interface KvCacheLayer {
  /** Key blocks. */
  readonly keys: Tensor;
  /** Value blocks. */
  readonly values: Tensor;
}

/** The flattened batch of a step, in device memory. Buffers are allocated once for the largest step. */
export interface BatchTensors {
  /** i32 [tokens]: absolute position of each token. */
  readonly positions: Tensor;
  /** i32 [tokens]: `block * blockSize + offset` where the token's key and value go. */
  readonly slotMapping: Tensor;
  /** i32 [sequences + 1]: first token of each sequence, then the number of tokens. */
  readonly queryStarts: Tensor;
  /** i32 [sequences]: absolute position of each sequence's first token in this step. */
  readonly contextStarts: Tensor;
  /** i32 [sequences, maxBlocks]: block table of each sequence of the batch. */
  readonly blockTables: Tensor;
}

/** What the sampler asks of each row of logits; all arrays are host memory, `rows` long. */
export interface GumbelOptions {
  /** f32: temperature; 0 means greedy. */
  readonly temperatures: Tensor;
  /** u32 pairs as i32 [rows, 2]: low and high half of the seed. */
  readonly seeds: Tensor;
  /** i32 [rows]: choice index of the request. */
  readonly choices: Tensor;
  /** i32 [rows]: absolute position of the token that is drawn. */
  readonly positions: Tensor;
  /** f32 [rows]: only logits >= threshold take part; -Infinity lets all in. */
  readonly thresholds: Tensor;
}

/** What a device is, for `inspect`, `/health` and the metrics. */
export interface DeviceDescription {
  /** Backend. */
  readonly kind: DeviceKind;
  /** Processor or GPU name. */
  readonly name: string;
  /** Instruction set or architecture that the kernels were compiled for. */
  readonly instructionSet: string;
  /** Threads that a kernel uses (1 on a GPU). */
  readonly threads: number;
  /** Hash of the kernel sources, compiler and flags: ranks of one engine must agree. */
  readonly kernelHash: string;
}

/** A recorded sequence of kernels. */
export interface Recording extends Disposable {
  /** Runs the recorded work again. */
  replay(): void;
}

/** Number of tokens in one block of the KV cache. */
export const KV_BLOCK_SIZE = 16;

/** Backend-independent device: memory, recording and kernels. Addresses are device addresses. */
export interface Device extends Disposable {
  /** Backend. */
  readonly kind: DeviceKind;
  /** What this device is. */
  readonly description: DeviceDescription;

  /** Allocates at least `byteLength` bytes, 64-byte aligned; throws CapacityError when out of memory. */
  allocate(byteLength: number): bigint;
  /** Frees what {@linkcode allocate} returned. */
  free(address: bigint): void;
  /** Copies host memory to the device. */
  upload(destination: bigint, source: ArrayBufferView): void;
  /** Copies device memory to the host, after pending work. */
  download(destination: ArrayBufferView, source: bigint): void;
  /** Copies inside the device. */
  copy(destination: bigint, source: bigint, byteLength: number): void;
  /** Waits for pending work. */
  synchronize(): void;
  /** Records kernels for {@linkcode Recording.replay} (a CUDA graph; on CPU the function itself). */
  record(run: () => void): Recording;

  /** Makes a weight of row-stacked parts in the wanted format; CPU keeps mapped parts where they lie. */
  linearWeight(parts: readonly HostMatrix[], format: WeightDType): LinearWeight;
  /** Copies a vector to the device as `f32`. */
  vector(source: HostVector): Tensor;
  /** Allocates (untouched) key and value blocks for one layer. */
  kvCache(numBlocks: number, shape: { numKvHeads: number; headDim: number }): KvCacheLayer;

  /** `out[t] = table[ids[t] - firstId]`, or zeros where the id lies outside the table. */
  embedding(out: Tensor, ids: Tensor, table: LinearWeight, rows: number, firstId: number): void;
  /** `out = x / rms(x) * weight`; with `residual`, first `residual += x`, then the norm of residual. */
  rmsNorm(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    rows: number,
    options: { epsilon: number; residual?: Tensor },
  ): void;
  /** RMSNorm in place over each head of `x` (`[rows, heads * headDim]`, any row stride). */
  headRmsNorm(
    x: Tensor,
    weight: Tensor,
    rows: number,
    options: { epsilon: number; numHeads: number; headDim: number },
  ): void;
  /** `out = (x - mean) / sqrt(var + eps) * weight + bias`; `residual` as in {@linkcode rmsNorm}. */
  layerNorm(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    rows: number,
    options: { epsilon: number; residual?: Tensor },
  ): void;
  /** `out[t, o] = sum_k x[t, k] weight[o, k] (+ bias[o])`; `out` may be a column view. */
  linear(out: Tensor, x: Tensor, weight: LinearWeight, rows: number, options?: LinearOptions): void;
  /**
   * Rotary embedding in place (rotate-half form) on `x` `[rows, numHeads * headDim]`.
   * `table`: f32 `[maxPositions, rotaryDim]`, cosines in the first half of a row, sines in the second.
   */
  rope(
    x: Tensor,
    positions: Tensor,
    table: Tensor,
    rows: number,
    options: { numHeads: number; headDim: number; rotaryDim: number },
  ): void;
  /** Stores keys and values `[rows, numKvHeads * headDim]` at `slotMapping`. */
  writeKvCache(
    cache: KvCacheLayer,
    keys: Tensor,
    values: Tensor,
    slotMapping: Tensor,
    rows: number,
    shape: { numKvHeads: number; headDim: number },
  ): void;
  /** Causal attention of `queries` `[tokens, numHeads * headDim]` over the paged cache (current tokens already written). */
  pagedAttention(
    out: Tensor,
    queries: Tensor,
    cache: KvCacheLayer,
    batch: BatchTensors,
    counts: { tokens: number; sequences: number },
    shape: AttentionShape,
  ): void;
  /** `out[t, i] = silu(x[t, i]) * x[t, size + i]`. */
  siluAndMul(out: Tensor, x: Tensor, rows: number, size: number): void;
  /** GELU in its tanh form ("gelu_new"), `out` may be `x`. */
  gelu(out: Tensor, x: Tensor, rows: number, size: number): void;
  /** `out = a + b` over `count` contiguous elements; `out` may be `a`. */
  add(out: Tensor, a: Tensor, b: Tensor, count: number): void;
  /** `x[t, o] += bias[o]`: a row-parallel layer's bias, once, after the sum over ranks. */
  addBias(x: Tensor, bias: Tensor, rows: number): void;
  /** `out[i] = x[index[i]]`, rows of `size` elements. */
  gatherRows(out: Tensor, x: Tensor, index: Tensor, rows: number, size: number): void;

  /**
   * Mixture-of-experts routing. `weights` f32 and `experts` i32 are `[rows, topK]`, ordered by
   * expert number: softmax over all experts, top-k (ties to the lower expert), then divided by
   * their sum when `normalize`.
   */
  routeExperts(
    weights: Tensor,
    experts: Tensor,
    routerLogits: Tensor,
    rows: number,
    options: { numExperts: number; topK: number; normalize: boolean },
  ): void;
  /**
   * Sorts the `rows * topK` (token, choice) pairs by expert, stably: `order` i32 `[rows * topK]` holds
   * pair numbers, `offsets` i32 `[numExperts + 1]` where each expert's pairs begin.
   */
  sortByExpert(
    order: Tensor,
    offsets: Tensor,
    experts: Tensor,
    rows: number,
    options: { numExperts: number; topK: number },
  ): void;
  /**
   * For each position i of `order` belonging to expert e: `out[i] = x[source(i)] * weights[e]^T`, where
   * source(i) is `order[i] / inputDivisor` (floor), or i itself when `inputDivisor` is 0.
   */
  groupedLinear(
    out: Tensor,
    x: Tensor,
    weights: readonly LinearWeight[],
    order: Tensor,
    offsets: Tensor,
    options: { pairs: number; inputDivisor: number; blockSize?: number },
  ): void;
  /** `out[t] = sum over j = 0..topK-1 in order of weights[t, j] * y[inverse(t * topK + j)]`, y in sorted order. */
  combineExperts(
    out: Tensor,
    y: Tensor,
    weights: Tensor,
    order: Tensor,
    rows: number,
    options: { topK: number; size: number },
  ): void;

  /** Row-wise softmax over `size` columns. */
  softmax(out: Tensor, x: Tensor, rows: number, size: number): void;
  /** The `k` largest of each row and their column + `firstId`, descending, ties to the lower id. */
  topK(
    values: Tensor,
    ids: Tensor,
    x: Tensor,
    rows: number,
    options: { size: number; k: number; firstId: number },
  ): void;
  /**
   * Maximum and sum of exp(x - maximum) of each row, `stats` f32 `[rows, 2]`: over fixed blocks of
   * `blockSize` columns, merged by one binary tree (NUMERICS.md 6).
   */
  logSumExp(
    stats: Tensor,
    logits: Tensor,
    rows: number,
    options: { size: number; blockSize: number },
  ): void;
  /** Continues the tree across ranks: `gathered` f32 `[parts, rows, 2]` into `stats` `[rows, 2]`. */
  mergeLogSumExp(stats: Tensor, gathered: Tensor, rows: number, parts: number): void;
  /**
   * One round of the radix search for a top-k or top-p threshold. For each row, adds up over the
   * logits that are >= `thresholds[row]` and whose ordered key agrees with `prefixes[row]` in its top
   * `8 * round` bits: a count (mode 1) or an integer mass floor(exp((x - maximum) / temperature) * 2^30)
   * (mode 2) into `histogram` f64 `[rows, 256]`, by the next 8 bits. Integers, so exact in any order. The
   * ordered key of a float is its bits with the sign flipped (or all flipped when negative). Mode 0 fills
   * zeros. NaN counts as -Infinity, -0 as 0.
   */
  logitHistogram(
    histogram: Tensor,
    logits: Tensor,
    rows: number,
    options: {
      size: number;
      round: number;
      modes: Tensor;
      prefixes: Tensor;
      thresholds: Tensor;
      maxima: Tensor;
      temperatures: Tensor;
    },
  ): void;
  /**
   * Gumbel-max draw (NUMERICS.md 9): per row the best of `x / temperature + g(seed, choice, position, id)`,
   * or of `x` when the temperature is 0; `values` f32, `ids` i32 `[rows]`, ties to the lower id. g is
   * -ln(-ln u), u from word `id % 4` of the Philox4x32-10 block with the seed as key and counter
   * `(id / 4, position, choice, 0)`. NaN counts as -Infinity; where nothing takes part: -Infinity, firstId.
   */
  gumbelArgmax(
    values: Tensor,
    ids: Tensor,
    logits: Tensor,
    rows: number,
    options: GumbelOptions & { size: number; firstId: number },
  ): void;
  /** `values[i] = logits[i, ids[i] - firstId]`, or -Infinity where the id lies outside this shard. */
  gatherLogits(
    values: Tensor,
    logits: Tensor,
    ids: Tensor,
    rows: number,
    options: { size: number; firstId: number },
  ): void;
}
