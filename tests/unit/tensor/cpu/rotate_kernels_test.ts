import { assertThrows } from "@std/assert";
import { KV_BLOCK_SIZE } from "../../../../src/tensor/attention_kernels.ts";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import { assertClose, assertSameBits, Matrix, vector } from "../_matrix.ts";
import { Random } from "../_random.ts";

const EPSILON = 1e-5;
const NUM_HEADS = 3;
const NUM_KV_HEADS = 2;
const POSITIONS = [5, 0, 19, 5, 7];
const TABLE_ROWS = 20;

interface Case {
  readonly headDim: number;
  readonly rotaryDim: number;
  readonly norms: boolean;
  /** Copies of the positions, so that several threads find work. */
  readonly repeat: number;
}

const CASES: Case[] = [
  { headDim: 8, rotaryDim: 8, norms: false, repeat: 1 },
  { headDim: 40, rotaryDim: 40, norms: true, repeat: 1 },
  { headDim: 40, rotaryDim: 24, norms: false, repeat: 1 },
  { headDim: 19, rotaryDim: 0, norms: true, repeat: 1 },
  { headDim: 64, rotaryDim: 64, norms: true, repeat: 40 },
];

function tableOf(rotaryDim: number): Float32Array {
  const half = rotaryDim / 2;
  return Float32Array.from({ length: TABLE_ROWS * rotaryDim }, (_, i) => {
    const angle = Math.floor(i / rotaryDim) * 10 ** (-(i % half) / half);
    return i % rotaryDim < half ? Math.cos(angle) : Math.sin(angle);
  });
}

/** A head after norm and rotation, in float64. */
function transformed(x: number[], norm: Float32Array | null, angles: Float32Array): number[] {
  const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + EPSILON);
  const normed = norm ? x.map((v, i) => v * scale * norm[i]) : x;
  const half = angles.length / 2;
  return normed.map((v, d) => {
    if (d >= angles.length) return v;
    return d < half
      ? v * angles[d] - normed[d + half] * angles[d + half]
      : v * angles[d - half] + normed[d - half] * angles[d];
  });
}

function run({ headDim, rotaryDim, norms, repeat }: Case, threads: number) {
  using device = openCpuDevice({ threads });
  const random = new Random(headDim + rotaryDim);
  const positions = Array.from({ length: repeat }, () => POSITIONS).flat();
  const rows = positions.length;
  const values = (heads: number) => random.normals(rows * heads * headDim);
  const [queries, keys, kvValues] = [NUM_HEADS, NUM_KV_HEADS, NUM_KV_HEADS].map(values);
  const [queryNorm, keyNorm] = [0, 1].map(() => random.normals(headDim));
  const table = tableOf(rotaryDim);
  const matrices = {
    queries: new Matrix(device, rows, NUM_HEADS * headDim, { values: queries }),
    keys: new Matrix(device, rows, NUM_KV_HEADS * headDim, { values: keys }),
    values: new Matrix(device, rows, NUM_KV_HEADS * headDim, { values: kvValues }),
  };
  const numBlocks = Math.ceil(rows / KV_BLOCK_SIZE) + 1;
  const cache = device.kvCache(numBlocks, {
    numKvHeads: NUM_KV_HEADS,
    headDim,
    dtype: "f32",
  });
  const i32 = (values: number[]) => vector(device, Int32Array.from(values));
  const slots = positions.map((_, i) => i);
  const batch = {
    positions: i32(positions),
    slotMapping: i32(slots),
    queryStarts: i32([0, rows]),
    contextStarts: i32([0]),
    tableRows: i32([0]),
    blockTables: i32([...Array(numBlocks).keys()]),
  };
  const shape = {
    numHeads: NUM_HEADS,
    numKvHeads: NUM_KV_HEADS,
    kvHeadOfHead: i32([0, 0, 1]),
    headDim,
    scale: 1,
    slidingWindow: 0,
  };
  const qkv = {
    queries: matrices.queries.tensor,
    keys: matrices.keys.tensor,
    values: matrices.values.tensor,
  };
  const transform = {
    headNorms: norms
      ? { query: vector(device, queryNorm), key: vector(device, keyNorm), epsilon: EPSILON }
      : null,
    rotary: rotaryDim > 0
      ? {
        table: new Matrix(device, TABLE_ROWS, rotaryDim, { values: table }).tensor,
        rotaryDim,
      }
      : null,
  };
  device.rotateAndCache(cache, qkv, batch, rows, shape, transform);
  if (rotaryDim > 0) {
    const outside = { ...batch, positions: i32([1, TABLE_ROWS]) };
    assertThrows(
      () => device.rotateAndCache(cache, qkv, outside, 2, shape, transform),
      RangeError,
      "the position of row 1 lies outside",
    );
  }
  const heads = (x: Float32Array, count: number, norm: Float32Array | null) =>
    positions.flatMap((position, row) =>
      Array.from({ length: count }, (_, head) => {
        const first = (row * count + head) * headDim;
        const angles = table.subarray(position * rotaryDim, (position + 1) * rotaryDim);
        return transformed([...x.subarray(first, first + headDim)], norm, angles);
      }).flat()
    );
  return {
    queries: matrices.queries.read(),
    expectedQueries: heads(queries, NUM_HEADS, norms ? queryNorm : null),
    cachedKeys: readKeys(cache.keys.address, slots),
    expectedKeys: heads(keys, NUM_KV_HEADS, norms ? keyNorm : null),
  };

  /** Keys in the order of tokens, from `[blocks, heads, padded headDim, 16]`. */
  function readKeys(address: bigint, slots: number[]): Float32Array {
    const padded = Math.ceil(headDim / 16) * 16;
    const all = new Float32Array(numBlocks * NUM_KV_HEADS * padded * KV_BLOCK_SIZE);
    device.download(all, address);
    return Float32Array.from(
      slots.flatMap((slot) =>
        Array.from({ length: NUM_KV_HEADS * headDim }, (_, i) => {
          const head = Math.floor(slot / KV_BLOCK_SIZE) * NUM_KV_HEADS + Math.floor(i / headDim);
          return all[(head * padded + i % headDim) * KV_BLOCK_SIZE + slot % KV_BLOCK_SIZE];
        })
      ),
    );
  }
}

for (const one of CASES) {
  const { headDim, rotaryDim, norms } = one;
  const name = `heads of ${headDim}, ${rotaryDim} rotated, ${norms ? "with" : "without"} norms`;
  Deno.test(`rotateAndCache norms and rotates queries and keys: ${name}`, () => {
    const single = run(one, 1);
    assertClose(single.queries, single.expectedQueries, 1e-5);
    assertClose(single.cachedKeys, single.expectedKeys, 1e-5);
    const threaded = run(one, 3);
    assertSameBits(threaded.queries, single.queries, "queries of three threads");
    assertSameBits(threaded.cachedKeys, single.cachedKeys, "keys of three threads");
  });
}
