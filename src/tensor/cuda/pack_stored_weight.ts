/**
 * Weights that a checkpoint has in 4 or 8 bits, into the format of `native/cuda/quantized.cuh`.
 * @module
 */
import type { QuantizedMatrix } from "../linear_kernels.ts";
import { storedGroupCount } from "./input_groups.ts";
import type { CudaWeightContext } from "./linear_weight.ts";
import {
  inputThreads,
  type PackedMatrix,
  rowBytes,
  rowSegments,
  rowThreads,
} from "./packed_matrix.ts";
import { STAGING_BYTES, uploadConverted, uploadRows } from "./upload_matrix.ts";

const WORD_BYTES = 4;
const WORD_BITS = 32;

/** Columns of a stored matrix of words or bytes that a slice lies in. */
interface StoredColumns {
  /** The first one. */
  readonly first: number;
  /** How many. */
  readonly count: number;
  /** Elements of the first one that the slice does not have. */
  readonly skipped: number;
}

/** Words that hold elements `[first, first + count)`, `perWord` in each. */
function wordsOf(first: number, count: number, perWord: number): StoredColumns {
  const firstWord = Math.floor(first / perWord);
  return {
    first: firstWord,
    count: Math.ceil((first + count) / perWord) - firstWord,
    skipped: first % perWord,
  };
}

/** Rows and columns of the stored values that a slice lies in. */
function storedValues(part: QuantizedMatrix) {
  const { firstRow, rows, firstColumn, columns, storedRows, storedColumns } = part;
  const perWord = WORD_BITS / (part.dtype === "int4" ? 4 : 8);
  if (part.packing === "awq") {
    const words = wordsOf(firstRow, rows, perWord);
    return {
      kernel: "pack_awq",
      dtype: "i32" as const,
      stride: storedRows / perWord,
      rows: { first: firstColumn, count: columns },
      columns: words,
      skipped: words.skipped,
    };
  }
  if (part.packing === "gptq") {
    const words = wordsOf(firstColumn, columns, perWord);
    return {
      kernel: "pack_gptq",
      dtype: "i32" as const,
      stride: storedRows,
      rows: words,
      columns: { first: firstRow, count: rows },
      skipped: words.skipped,
    };
  }
  return {
    kernel: "pack_signed",
    dtype: "u8" as const,
    stride: storedColumns,
    rows: { first: firstRow, count: rows },
    columns: { first: firstColumn, count: columns },
    skipped: 0,
  };
}

/** Packs a part as the rows of a matrix from `row` on; `groupOfSegment` is its layout's. */
export type PackStoredWeight = (
  part: QuantizedMatrix,
  groupOfSegment: Int32Array<ArrayBuffer>,
  row: number,
) => void;

/** Throws RangeError for a part that words do not hold as its packing says. */
function checkPacking({ packing, dtype, zeros, storedRows, storedColumns }: QuantizedMatrix): void {
  const perWord = WORD_BITS / (dtype === "int4" ? 4 : 8);
  const isKnown = packing === "gptq" || dtype === (packing === "awq" ? "int4" : "int8");
  const rowsFit = packing === "signed" || zeros === null && packing === "gptq" ||
    storedRows % perWord === 0;
  const columnsFit = packing !== "gptq" || storedColumns % perWord === 0;
  if (isKnown && rowsFit && columnsFit && !(packing === "signed" && zeros !== null)) return;
  throw new RangeError(
    `Cannot make a weight as ${packing} does not pack ${dtype} of its size: [${storedRows}, ${storedColumns}]` +
      `${zeros === null ? "" : " with zeros"}`,
  );
}

/** Packs parts of `matrix`. What `allocate` gives must stay until the kernels have run. */
export function storedWeightPacker(
  { context, convert }: CudaWeightContext,
  matrix: PackedMatrix,
  allocate: (byteLength: number) => bigint,
): PackStoredWeight {
  const { memory } = context;
  const { format, layout, zeroMask, order } = matrix;
  const segmentsOfRow = rowSegments(matrix);

  function packValues(part: QuantizedMatrix, firstRow: number): void {
    const stored = storedValues(part);
    const { dtype, stride, columns, skipped } = stored;
    const pack = context.kernel(`${stored.kernel}_${format}`, [
      ...["pointer", "pointer", "i32", "i32"] as const,
      ...["pointer", "i32", "i32"] as const,
    ]);
    const bytes = dtype === "u8" ? 1 : WORD_BYTES;
    // Where a stored row is one of the slice, some rows at a time.
    const chunk = part.packing === "signed"
      ? Math.max(1, Math.floor(STAGING_BYTES / columns.count))
      : stored.rows.count;
    const staging = allocate(Math.min(chunk, stored.rows.count) * columns.count * bytes);
    for (let row = 0; row < stored.rows.count; row += chunk) {
      const count = Math.min(chunk, stored.rows.count - row);
      const first = (stored.rows.first + row) * stride + columns.first;
      uploadRows(memory, { address: staging, rowStride: columns.count }, {
        address: part.values + BigInt(first * bytes),
        dtype,
        rows: count,
        columns: columns.count,
        rowStride: stride,
      });
      const outputs = part.packing === "signed" ? count : part.rows;
      const target = matrix.values + BigInt((firstRow + row) * rowBytes(matrix));
      pack.launch(inputThreads(outputs, layout), [
        target,
        staging,
        columns.count,
        skipped,
        order,
        part.columns,
        layout.inputs,
      ]);
    }
  }

  function packSegments(part: QuantizedMatrix, firstRow: number, groups: bigint): void {
    const { rows, storedRows, zeros, zeroOffset, packing, dtype } = part;
    const pack = context.kernel("pack_segments", [
      ...["pointer", "pointer", "i32"] as const, // out, scales
      ...["pointer", "i32", "i32", "i32", "i32", "i32"] as const, // zeros
      ...["pointer", "i32", "u32"] as const,
    ]);
    const bits = dtype === "int4" ? 4 : 8;
    const perWord = WORD_BITS / bits;
    const count = storedGroupCount(part);
    const scales = { address: allocate(4 * count * rows), dtype: "f32" as const, rowStride: rows };
    const scaleBytes = part.scales.dtype === "f32" ? 4 : 2;
    uploadConverted(context, convert, scales, {
      address: part.scales.address + BigInt(part.firstRow * scaleBytes),
      dtype: part.scales.dtype,
      rows: count,
      columns: rows,
      rowStride: storedRows,
    });
    const words = wordsOf(part.firstRow, rows, perWord);
    let zeroWords = 0n;
    if (zeros !== null) {
      zeroWords = allocate(WORD_BYTES * count * words.count);
      uploadRows(memory, { address: zeroWords, rowStride: words.count }, {
        address: zeros + BigInt(WORD_BYTES * words.first),
        dtype: "i32",
        rows: count,
        columns: words.count,
        rowStride: storedRows / perWord,
      });
    }
    pack.launch(rowThreads(rows, segmentsOfRow), [
      matrix.segments + BigInt(WORD_BYTES * firstRow * segmentsOfRow),
      scales.address,
      scales.rowStride,
      zeroWords,
      words.count,
      words.skipped,
      bits,
      zeroOffset,
      packing === "awq" ? 1 : 0,
      groups,
      segmentsOfRow,
      zeroMask,
    ]);
  }

  return (part, groupOfSegment, row) => {
    checkPacking(part);
    if (part.rows === 0) return;
    packValues(part, row);
    const groups = allocate(groupOfSegment.byteLength);
    memory.upload(groups, groupOfSegment);
    packSegments(part, row, groups);
  };
}
