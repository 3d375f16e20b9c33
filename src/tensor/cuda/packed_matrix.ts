/**
 * How a GPU has rows of 4 or 8 bits (`native/cuda/quantized.cuh`).
 * @module
 */
import type { InputLayout } from "./input_layout.ts";
import type { LaunchShape } from "./kernel.ts";

/** Width of packed elements. */
export type PackedFormat = "int8" | "int4";

/** Rows that share a layout. */
export interface PackedMatrix {
  /** Width of the elements. */
  readonly format: PackedFormat;
  /** Which row of its weight comes first. */
  readonly firstOutput: number;
  /** Rows. */
  readonly outFeatures: number;
  /** Inputs of the weight. */
  readonly inFeatures: number;
  /** The order of the inputs, with what pads them. */
  readonly layout: InputLayout;
  /** Bits of a segment's word that are its zero; 0: all bits are the scale's. */
  readonly zeroMask: number;
  /** Address of the elements. */
  readonly values: bigint;
  /** Address of the words of the segments. */
  readonly segments: bigint;
  /** Address of the layout's order; 0 when inputs are in order. */
  readonly order: bigint;
}

/** Inputs of a chunk, of which segments have a power of two. */
const CHUNK_INPUTS = 32;

/** Bytes of a row's elements. */
export function rowBytes({ format, layout }: Pick<PackedMatrix, "format" | "layout">): number {
  return format === "int4" ? layout.inputs / 2 : layout.inputs;
}

/** Segments of a row. */
export function rowSegments({ layout }: Pick<PackedMatrix, "layout">): number {
  return layout.inputs / layout.segmentSize;
}

/** Chunks of a segment, as a power of two: how kernels are told its size. */
export function segmentShift({ layout }: Pick<PackedMatrix, "layout">): number {
  return Math.log2(layout.segmentSize / CHUNK_INPUTS);
}

const MAX_THREADS = 256;
const WARP_SIZE = 32;

/** Inputs that a thread packs or unpacks. */
const THREAD_INPUTS = 8;

/** A launch with so many threads for each row. */
export function rowThreads(rows: number, threadsOfRow: number): LaunchShape {
  const threads = Math.min(MAX_THREADS, Math.ceil(threadsOfRow / WARP_SIZE) * WARP_SIZE);
  return { grid: [rows, Math.ceil(threadsOfRow / threads)], threads };
}

/** A launch with a thread for every 8 inputs of each row. */
export function inputThreads(rows: number, { inputs }: InputLayout): LaunchShape {
  return rowThreads(rows, inputs / THREAD_INPUTS);
}
