import type { Device } from "../../../src/tensor/device.ts";
import { KV_BLOCK_SIZE } from "../../../src/tensor/attention_kernels.ts";
import { dtypeBytes, type KvDType, type WeightDType } from "../../../src/tensor/dtype.ts";
import { Tensor } from "../../../src/tensor/tensor.ts";
import { Matrix, rounded } from "./_matrix.ts";
import type { Random } from "./_random.ts";

/** Heads of a layer; query head h reads key/value head `kvHeadOfHead[h]`. */
export interface Heads {
  readonly kvHeadOfHead: readonly number[];
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly slidingWindow: number;
}

/** Queries, keys and values of one sequence, `[length, heads * headDim]` each. */
export interface Sequence {
  readonly length: number;
  readonly queries: Float32Array;
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/** Positions `[start, start + count)` of a sequence, computed in one step. */
export interface Chunk {
  readonly sequence: number;
  readonly start: number;
  readonly count: number;
}

/** Normal numbers, as `dtype` stores them. */
export function randomSequence(
  random: Random,
  length: number,
  heads: Heads,
  dtype: WeightDType = "f32",
): Sequence {
  const { kvHeadOfHead, numKvHeads, headDim } = heads;
  const normals = (numHeads: number) => rounded(random.normals(length * numHeads * headDim), dtype);
  return {
    length,
    queries: normals(kvHeadOfHead.length),
    keys: normals(numKvHeads),
    values: normals(numKvHeads),
  };
}

/** The sequence with keys and values as a cache of `dtype` keeps them. */
export function cachedSequence(sequence: Sequence, heads: Heads, dtype: KvDType): Sequence {
  const keep = (x: Float32Array) =>
    dtype === "int8" ? dequantized(x, heads.headDim) : rounded(x.slice(), dtype);
  return { ...sequence, keys: keep(sequence.keys), values: keep(sequence.values) };
}

/** Each head in 127 steps of its largest magnitude, in f32 as the kernel computes them. */
function dequantized(x: Float32Array, headDim: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let first = 0; first < x.length; first += headDim) {
    const head = x.subarray(first, first + headDim);
    const scale = Math.fround(Math.max(...head.map(Math.abs)) / 127);
    const inverse = Math.fround(1 / scale);
    head.forEach((value, d) => {
      out[first + d] = roundToEven(Math.fround(value * inverse)) * scale;
    });
  }
  return out;
}

function roundToEven(x: number): number {
  const up = Math.round(x);
  return up - x === 0.5 && up % 2 !== 0 ? up - 1 : up;
}

/**
 * Runs `steps` through the paged cache, each writing its keys and values before it attends, and
 * returns the outputs `[length, numHeads * headDim]` of each sequence. The cache starts as NaN, its
 * blocks are dealt out in random order, and blocks that nobody may read are -1 in the tables. `gap`
 * elements lie between the rows of queries, keys, values and outputs.
 */
export function attend(
  device: Device,
  sequences: readonly Sequence[],
  steps: readonly (readonly Chunk[])[],
  heads: Heads,
  random: Random,
  options: {
    readonly dtype?: WeightDType;
    readonly kvDtype?: KvDType;
    readonly gap?: number;
  } = {},
): Float32Array[] {
  const { kvHeadOfHead, numKvHeads, headDim, slidingWindow } = heads;
  const { dtype = "f32", kvDtype = dtype, gap = 0 } = options;
  const width = kvHeadOfHead.length * headDim;
  const kvWidth = numKvHeads * headDim;
  const blocksOf = sequences.map(({ length }) => Math.ceil(length / KV_BLOCK_SIZE));
  const numBlocks = blocksOf.reduce((sum, blocks) => sum + blocks, 0) + 3;
  const maxBlocks = Math.max(...blocksOf) + 1;
  const free = [...random.permutation(numBlocks)];
  const tables = blocksOf.map((blocks) => free.splice(0, blocks));
  const outputs = sequences.map(({ length }) => new Float32Array(length * width));

  using resources = new DisposableStack();
  const i32 = (values: ArrayLike<number>, shape = [values.length]) => {
    const tensor = resources.use(Tensor.allocate(device, { shape, dtype: "i32" }));
    tensor.upload(Int32Array.from(values));
    return tensor;
  };
  const cache = device.kvCache(numBlocks, { numKvHeads, headDim, dtype: kvDtype });
  for (const tensor of [resources.use(cache.keys), resources.use(cache.values)]) {
    // All bits set is a NaN of any type.
    const bytes = new Uint8Array(tensor.size * dtypeBytes(tensor.dtype)).fill(0xff);
    tensor.upload(bytes);
  }
  const shape = {
    numHeads: kvHeadOfHead.length,
    numKvHeads,
    kvHeadOfHead: i32(kvHeadOfHead),
    headDim,
    scale: 1 / Math.sqrt(headDim),
    slidingWindow,
  };

  for (const chunks of steps) {
    const rows = (pick: (sequence: Sequence) => Float32Array, columns: number) => {
      const parts = chunks.map(({ sequence, start, count }) =>
        pick(sequences[sequence]).subarray(start * columns, (start + count) * columns)
      );
      const values = parts.flatMap((part) => [...part]);
      return new Matrix(device, values.length / columns, columns, { values, dtype, gap });
    };
    const starts = [0];
    for (const { count } of chunks) starts.push(starts[starts.length - 1] + count);
    const tokens = starts[chunks.length];
    const tokenOf = chunks.flatMap(({ sequence, start, count }) =>
      Array.from({ length: count }, (_, i) => ({ sequence, position: start + i }))
    );
    const slotMapping = i32(
      tokenOf.map(({ sequence, position }) =>
        tables[sequence][Math.floor(position / KV_BLOCK_SIZE)] * KV_BLOCK_SIZE +
        position % KV_BLOCK_SIZE
      ),
    );
    const blockTables = chunks.flatMap(({ sequence, start, count }) => {
      const firstSeen = slidingWindow > 0 ? Math.max(0, start + 1 - slidingWindow) : 0;
      return Array.from({ length: maxBlocks }, (_, block) => {
        const first = block * KV_BLOCK_SIZE;
        const seen = first + KV_BLOCK_SIZE > firstSeen && first < start + count;
        return seen ? tables[sequence][block] : -1;
      });
    });
    const queries = rows(({ queries }) => queries, width);
    const out = new Matrix(device, tokens, width, { dtype, gap });
    const batch = {
      positions: i32(tokenOf.map(({ position }) => position)),
      slotMapping,
      queryStarts: i32(starts),
      contextStarts: i32(chunks.map(({ start }) => start)),
      tableRows: i32(chunks.map((_, i) => i)),
      blockTables: i32(blockTables, [chunks.length, maxBlocks]),
    };
    const qkv = {
      queries: queries.tensor,
      keys: rows(({ keys }) => keys, kvWidth).tensor,
      values: rows(({ values }) => values, kvWidth).tensor,
    };
    const counts = { tokens, sequences: chunks.length };
    device.rotateAndCache(cache, qkv, batch, tokens, shape, { headNorms: null, rotary: null });
    device.pagedAttention(out.tensor, queries.tensor, cache, batch, counts, shape);
    const result = out.read();
    chunks.forEach(({ sequence, start, count }, i) => {
      outputs[sequence].set(
        result.subarray(starts[i] * width, (starts[i] + count) * width),
        start * width,
      );
    });
  }
  return outputs;
}

/** Attention of one query of a sequence in float64, `[headDim]`. */
export function referenceAttention(
  sequence: Sequence,
  query: { position: number; head: number },
  heads: Heads,
): Float64Array {
  const { kvHeadOfHead, numKvHeads, headDim, slidingWindow } = heads;
  const { position, head } = query;
  const first = slidingWindow > 0 ? Math.max(0, position + 1 - slidingWindow) : 0;
  const at = (key: number, d: number) =>
    key * numKvHeads * headDim + kvHeadOfHead[head] * headDim + d;
  const scores = Array.from({ length: position + 1 - first }, (_, i) => {
    let score = 0;
    for (let d = 0; d < headDim; d++) {
      score += sequence.queries[(position * kvHeadOfHead.length + head) * headDim + d] *
        sequence.keys[at(first + i, d)];
    }
    return score / Math.sqrt(headDim);
  });
  const largest = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return Float64Array.from({ length: headDim }, (_, d) => {
    let sum = 0;
    weights.forEach((weight, i) => sum += weight * sequence.values[at(first + i, d)]);
    return sum / total;
  });
}

/** Cuts `[0, length)` of one sequence into steps of `size` positions. */
export function chunksOf(sequence: number, length: number, size: number): Chunk[][] {
  return Array.from({ length: Math.ceil(length / size) }, (_, i) => [
    { sequence, start: i * size, count: Math.min(size, length - i * size) },
  ]);
}
