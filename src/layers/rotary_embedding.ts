/**
 * Rotary position embedding.
 * @module
 */
import type { Device } from "../tensor/device.ts";
import { Tensor } from "../tensor/tensor.ts";

/** How frequencies are scaled for contexts longer than the model was first trained on. */
export type RopeScaling =
  | { readonly type: "default" }
  | { readonly type: "linear"; readonly factor: number }
  | {
    readonly type: "llama3";
    readonly factor: number;
    readonly lowFreqFactor: number;
    readonly highFreqFactor: number;
    readonly originalMaxPositionEmbeddings: number;
  };

/** Describes a rotary embedding. */
export interface RopeConfig {
  /** Base of the frequencies. */
  readonly theta: number;
  /** Leading elements of a head that are rotated. */
  readonly rotaryDim: number;
  /** Frequency scaling. */
  readonly scaling: RopeScaling;
}

/**
 * Rotates pairs (x[i], x[i + rotaryDim/2]) of every head by position * frequency[i].
 *
 * The table of cosines and sines is computed once in float64 by absolute position, so a token's
 * rotation does not depend on how its prompt was cut (NUMERICS.md 4).
 *
 * Source: Su et al., "RoFormer" (arXiv 2104.09864); `llama3` scaling as Llama 3.1 publishes it.
 */
export class RotaryEmbedding implements Disposable {
  /** f32 `[maxPositions, rotaryDim]`: cosines in the first half of a row, sines in the second. */
  readonly table: Tensor;
  /** Leading elements of a head that are rotated. */
  readonly rotaryDim: number;

  /** Computes the table for positions below `maxPositions`. */
  constructor(device: Device, config: RopeConfig & { readonly maxPositions: number }) {
    this.rotaryDim = config.rotaryDim;
    this.table = Tensor.allocate(device, { shape: [config.maxPositions, config.rotaryDim] });
    this.table.upload(ropeTable(config));
  }

  /** Frees the table. */
  [Symbol.dispose](): void {
    this.table[Symbol.dispose]();
  }
}

/** Angular frequency of each rotated pair, `rotaryDim / 2` values. */
export function ropeFrequencies(config: RopeConfig): Float64Array {
  const half = config.rotaryDim / 2;
  const frequencies = new Float64Array(half);
  for (let i = 0; i < half; i++) {
    frequencies[i] = scaled(config.theta ** (-i / half), config.scaling);
  }
  return frequencies;
}

function scaled(frequency: number, scaling: RopeScaling): number {
  if (scaling.type === "default") return frequency;
  if (scaling.type === "linear") return frequency / scaling.factor;
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings } = scaling;
  // How often the pair turns within the original context decides: fast pairs stay, slow pairs are
  // stretched by the factor, those between are blended.
  const turns = (originalMaxPositionEmbeddings * frequency) / (2 * Math.PI);
  if (turns > highFreqFactor) return frequency;
  if (turns < lowFreqFactor) return frequency / factor;
  const smooth = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

function ropeTable(config: RopeConfig & { readonly maxPositions: number }): Float32Array {
  const frequencies = ropeFrequencies(config);
  const half = frequencies.length;
  const table = new Float32Array(config.maxPositions * 2 * half);
  for (let position = 0; position < config.maxPositions; position++) {
    const row = position * 2 * half;
    for (let i = 0; i < half; i++) {
      const angle = position * frequencies[i];
      table[row + i] = Math.cos(angle);
      table[row + half + i] = Math.sin(angle);
    }
  }
  return table;
}
