/**
 * Parts of weights into the format of `native/cuda/quantized.cuh`: what a checkpoint has in 4 or 8 bits as
 * it is, numbers in groups of their own.
 * @module
 */
import {
  type HostMatrix,
  isQuantized,
  type WeightOptions,
  type WeightPart,
} from "../linear_kernels.ts";
import { dtypeBytes } from "../dtype.ts";
import { groupsOfBlocks, storedGroups } from "./input_groups.ts";
import { type InputLayout, inputLayout } from "./input_layout.ts";
import type { CudaWeightContext } from "./linear_weight.ts";
import { storedWeightPacker } from "./pack_stored_weight.ts";
import {
  inputThreads,
  type PackedFormat,
  type PackedMatrix,
  rowBytes,
  rowSegments,
  rowThreads,
} from "./packed_matrix.ts";
import { STAGING_BYTES, uploadConverted } from "./upload_matrix.ts";

const WARP_SIZE = 32;
const WORD_BYTES = 4;

/** Inputs that share a scale, when a weight is quantised while it is loaded. */
const GROUP_SIZES: Readonly<Record<PackedFormat, number>> = { int8: 128, int4: 32 };

/** A part, and how it is to be packed. */
export interface PackingPart {
  /** The part. */
  readonly part: WeightPart;
  /** Width of its elements. */
  readonly format: PackedFormat;
  /** The order of its inputs. */
  readonly layout: InputLayout;
  /** Whether its groups have zeros that are not half the range. */
  readonly hasZeros: boolean;
}

/** Packs a part as the rows of a matrix from `row` on. */
export type PackWeight = (part: PackingPart, row: number) => void;

/** Decides how `part` is packed. */
export function packingPart(part: WeightPart, options: WeightOptions): PackingPart {
  const { quantization, blockSize = 0 } = options;
  if (isQuantized(part)) {
    const format = part.dtype;
    const bits = format === "int4" ? 4 : 8;
    const layout = inputLayout(storedGroups(part), { bits });
    return { part, format, layout, hasZeros: part.zeros !== null };
  }
  if (quantization === undefined) {
    throw new TypeError("Cannot quantise a weight as nobody has said to how many bits");
  }
  const [format, size] = [quantization, GROUP_SIZES[quantization]];
  const groups = groupsOfBlocks(part.columns, { size, blockSize });
  const layout = inputLayout(groups, { bits: format === "int4" ? 4 : 8 });
  return { part, format, layout, hasZeros: format === "int4" };
}

/** Packs parts of `matrix`. What `allocate` gives must stay until the kernels have run. */
export function weightPacker(
  weightContext: CudaWeightContext,
  matrix: PackedMatrix,
  allocate: (byteLength: number) => bigint,
): PackWeight {
  const packStored = storedWeightPacker(weightContext, matrix, allocate);
  return ({ part, layout }, row) => {
    // Parts of one matrix have their inputs in the same order, but perhaps in other groups.
    if (isQuantized(part)) packStored(part, layout.groupOfSegment, row);
    else quantizePart(weightContext, matrix, part, row, allocate);
  };
}

/** Quantises some rows at a time. */
function quantizePart(
  { context, convert }: CudaWeightContext,
  matrix: PackedMatrix,
  part: HostMatrix,
  firstRow: number,
  allocate: (byteLength: number) => bigint,
): void {
  const { format, layout, zeroMask, order } = matrix;
  const { columns } = part;
  const makeSegments = context.kernel(`make_segments_${format}`, [
    ...["pointer", "pointer", "i32", "pointer", "i32"] as const,
    ...["i32", "i32", "u32"] as const,
  ]);
  const quantize = context.kernel(`quantize_${format}`, [
    ...["pointer", "pointer", "i32"] as const,
    ...["pointer", "i32", "i32", "u32"] as const, // segments
    ...["pointer", "i32", "i32"] as const,
  ]);
  const segmentsOfRow = rowSegments(matrix);
  const chunkRows = Math.min(part.rows, Math.max(1, Math.floor(STAGING_BYTES / (4 * columns))));
  const staging = allocate(4 * chunkRows * columns);
  for (let row = 0; row < part.rows; row += chunkRows) {
    const count = Math.min(chunkRows, part.rows - row);
    const numbers = { address: staging, dtype: "f32" as const, rowStride: columns };
    uploadConverted(context, convert, numbers, rowsOfPart(part, row, count));
    const target = firstRow + row;
    const segments = matrix.segments + BigInt(WORD_BYTES * target * segmentsOfRow);
    makeSegments.launch(rowThreads(count, segmentsOfRow * WARP_SIZE), [
      segments,
      staging,
      columns,
      order,
      columns,
      segmentsOfRow,
      layout.segmentSize,
      zeroMask,
    ]);
    quantize.launch(inputThreads(count, layout), [
      matrix.values + BigInt(target * rowBytes(matrix)),
      staging,
      columns,
      segments,
      segmentsOfRow,
      layout.segmentSize,
      zeroMask,
      order,
      columns,
      layout.inputs,
    ]);
  }
}

function rowsOfPart(part: HostMatrix, row: number, rows: number): HostMatrix {
  const stride = part.transposed ? 1 : part.rowStride;
  const address = part.address + BigInt(row * stride * dtypeBytes(part.dtype));
  return { ...part, address, rows };
}
