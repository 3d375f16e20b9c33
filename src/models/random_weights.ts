/**
 * Normally distributed weights, reproducible and fast enough to fill gigabytes.
 * @module
 */
import { createHash } from "node:crypto";
import type { WeightDType } from "../tensor/dtype.ts";

/** Weights as bits: 16-bit types and f32. */
export type WeightBits = Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** Entries of the table of quantiles: one for each value of 16 random bits. */
const QUANTILES = 65536;

/**
 * Draws weights from N(0, standardDeviation) in one storage type.
 *
 * A table holds the normal distribution's quantiles at 65536 equally likely places, already in the
 * storage type; xoshiro128** picks two entries with each 32-bit number. Every weight is drawn
 * independently; the finest structure of the distribution, and its tails beyond 4.3 deviations, are lost.
 *
 * Source: Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators" (arXiv 1805.01407).
 */
export class RandomWeights {
  /** Storage type. */
  readonly dtype: WeightDType;
  readonly #table: WeightBits;
  readonly #seed: bigint;

  /** Prepares the table; `seed` is an unsigned 64-bit integer. */
  constructor(
    dtype: WeightDType,
    options: { readonly seed: bigint; readonly standardDeviation: number },
  ) {
    const { seed, standardDeviation } = options;
    if (BigInt.asUintN(64, seed) !== seed) {
      throw new RangeError(`Cannot draw weights as the seed is not a 64-bit integer: ${seed}`);
    }
    this.dtype = dtype;
    this.#seed = seed;
    const quantiles = normalQuantiles(QUANTILES);
    this.#table = encodeWeights(quantiles.map((x) => x * standardDeviation), dtype);
  }

  /** An endless stream of weights for the tensor `name`: the same for the same seed and name. */
  stream(name: string): WeightStream {
    const digest = createHash("sha256").update(`${this.#seed}\n${name}`).digest();
    const state = Uint32Array.from({ length: 4 }, (_, i) => digest.readUInt32LE(4 * i));
    return new WeightStream(this.#table, state);
  }
}

/** A stream of weights; see {@linkcode RandomWeights.stream}. */
export class WeightStream {
  readonly #table: WeightBits;
  readonly #state: Uint32Array;

  /** Made by {@linkcode RandomWeights.stream}. */
  constructor(table: WeightBits, state: Uint32Array) {
    this.#table = table;
    this.#state = state;
  }

  /** Fills `out` (as many bits an element as the storage type) with the next weights, an even number. */
  fill(out: WeightBits): void {
    if (out.length % 2 !== 0) {
      throw new RangeError(`Cannot fill an odd number of weights: ${out.length}`);
    }
    const table = this.#table;
    let [s0, s1, s2, s3] = this.#state;
    for (let i = 0; i < out.length; i += 2) {
      const scrambled = Math.imul(s1, 5);
      const random = Math.imul((scrambled << 7) | (scrambled >>> 25), 9);
      const shifted = s1 << 9;
      s2 ^= s0;
      s3 ^= s1;
      s1 ^= s2;
      s0 ^= s3;
      s2 ^= shifted;
      s3 = (s3 << 11) | (s3 >>> 21);
      out[i] = table[random & 0xffff];
      out[i + 1] = table[random >>> 16];
    }
    this.#state.set([s0, s1, s2, s3]);
  }
}

/** Bits of `values` in the storage type `dtype`, rounded to nearest, ties to even. */
export function encodeWeights(
  values: Float64Array,
  dtype: WeightDType,
): WeightBits {
  if (dtype === "f16") return new Uint16Array(new Float16Array(values).buffer);
  const bits = new Uint32Array(new Float32Array(values).buffer);
  if (dtype === "f32") return bits;
  return Uint16Array.from(bits, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16);
}

/** Quantiles of N(0, 1) at (i + 1/2) / count; `count` is even. */
function normalQuantiles(count: number): Float64Array {
  const quantiles = new Float64Array(count);
  const half = count / 2;
  let x = 0;
  for (let i = 0; i < half; i++) {
    // From one quantile to the next by Newton's method on the distribution function.
    const probability = (i + 0.5) / count;
    for (let step = 0; step < 20; step++) {
      const density = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
      const change = (probability - halfDistribution(x, density)) / density;
      x += change;
      if (Math.abs(change) < 1e-12) break;
    }
    quantiles[half + i] = x;
    quantiles[half - 1 - i] = -x;
  }
  return quantiles;
}

/** Probability of (0, x) under N(0, 1), by the series density * (x + x^3/3 + x^5/15 + ...). */
function halfDistribution(x: number, density: number): number {
  let term = x;
  let sum = x;
  for (let n = 3; term > sum * 1e-17; n += 2) {
    term *= x * x / n;
    sum += term;
  }
  return density * sum;
}
