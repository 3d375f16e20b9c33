import type { AttentionShape, BatchTensors } from "../../src/tensor/attention_kernels.ts";
import { KV_BLOCK_SIZE } from "../../src/tensor/attention_kernels.ts";
import type { Device } from "../../src/tensor/device.ts";
import { Tensor } from "../../src/tensor/tensor.ts";

/** A step of sequences that all have the same context before it and the same tokens in it. */
export interface UniformStep {
  /** Sequences. */
  readonly sequences: number;
  /** Tokens of each in the step. */
  readonly tokens: number;
  /** Positions of each before the step. */
  readonly context: number;
}

/** Blocks that such a step takes. */
export function blocksOf({ sequences, tokens, context }: UniformStep): number {
  return sequences * Math.ceil((context + tokens) / KV_BLOCK_SIZE);
}

/** The batch of a step, every sequence in blocks of its own. */
export function uniformBatch(device: Device, step: UniformStep): BatchTensors {
  const { sequences, tokens, context } = step;
  const tableWidth = blocksOf(step) / sequences;
  const rows = sequences * tokens;
  const upload = (shape: number[], value: (index: number) => number) => {
    const tensor = Tensor.allocate(device, { shape, dtype: "i32" });
    tensor.upload(Int32Array.from({ length: tensor.size }, (_, i) => value(i)));
    return tensor;
  };
  const position = (row: number) => context + row % tokens;
  return {
    positions: upload([rows], position),
    slotMapping: upload(
      [rows],
      (row) => Math.floor(row / tokens) * tableWidth * KV_BLOCK_SIZE + position(row),
    ),
    queryStarts: upload([sequences + 1], (i) => i * tokens),
    contextStarts: upload([sequences], () => context),
    tableRows: upload([sequences], (i) => i),
    blockTables: upload([sequences, tableWidth], (i) => i),
  };
}

/** Geometry of the attention layers of a model with 128 elements a head and four queries a key. */
export function groupedHeads(device: Device, numHeads: number, headDim: number): AttentionShape {
  const group = 4;
  const kvHeadOfHead = Tensor.allocate(device, { shape: [numHeads], dtype: "i32" });
  kvHeadOfHead.upload(Int32Array.from({ length: numHeads }, (_, head) => Math.floor(head / group)));
  return {
    numHeads,
    numKvHeads: numHeads / group,
    kvHeadOfHead,
    headDim,
    scale: 1 / Math.sqrt(headDim),
    slidingWindow: 0,
  };
}
