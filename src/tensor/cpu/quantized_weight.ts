/**
 * Weights of 8 or 4 bits as the CPU kernels read them (native/cpu/quantized.h).
 * @module
 */
import type { CpuContext } from "./context.ts";
import type { PackedWeight } from "./panels.ts";
import { type QuantizedLayout, quantizedLayout, sameLayout } from "./quantized_layout.ts";
import { weightFormat } from "./stored_rows.ts";
import { dtypeBytes, type WeightDType } from "../dtype.ts";
import type { HostMatrix, QuantizedMatrix } from "../linear_kernels.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_QUANTIZED_SYMBOLS = {
  // void weft_quantize_rows(weft_pool* pool, const weft_quantized_section* section,
  //     int32_t first_row, const void* source, int32_t format, int32_t rows, int32_t row_stride,
  //     int32_t column_stride, int32_t mapped)
  weft_quantize_rows: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32", "i32", "i32"],
    result: "void",
  },
  // void weft_import_rows(weft_pool* pool, const weft_quantized_section* section,
  //     const weft_quantized_source* source)
  weft_import_rows: { parameters: ["usize", "usize", "buffer"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

type Context = CpuContext<typeof CPU_QUANTIZED_SYMBOLS>;

const PANEL_ROWS = 16;
const UNIT_BYTES = 64;

/** WEFT_PANEL_SLACK: so much may be read past the last panel. */
const PANEL_SLACK = 1024;

const ALIGNMENT = 64;

/** Numbers of the packings in native/cpu/quantized_import.c. */
const PACKINGS = { awq: 0n, gptq: 1n, signed: 2n } as const;

const WIDTHS = { int8: 8, int4: 4 } as const;

/** Fields of a `weft_quantized_section`, 8 bytes each. */
const SECTION_FIELDS = 15;

/** How a section's weights are kept. */
interface Section {
  readonly layout: QuantizedLayout;
  readonly rows: number;
  readonly scaleFormat: WeightDType;
  /** Whether outputs have zeros of their own; otherwise each is half of the range. */
  readonly hasZeros: boolean;
}

/** How a product takes its activations. */
interface ProductOptions {
  /** Input features of a block of the sum; 0: one block. */
  readonly blockSize: number;
  /** Activations stay f32; otherwise they are rounded to int8. */
  readonly exact: boolean;
}

/** Quantises stacked dense parts. Pages of parts that lie in a mapped file are given back. */
export function quantizeParts(
  context: Context,
  parts: readonly HostMatrix[],
  format: "int8" | "int4",
  options: ProductOptions,
): PackedWeight {
  const { columns } = parts[0];
  const bits = WIDTHS[format];
  const section: Section = {
    layout: quantizedLayout({ bits, columns, blockSize: options.blockSize, groups: null }),
    rows: parts.reduce((sum, { rows }) => sum + rows, 0),
    scaleFormat: bits === 8 ? "f32" : "f16",
    hasZeros: bits === 4,
  };
  const { weight, sections, isPacked } = allocateSections(context, [section], options.exact);
  if (isPacked) return weight;
  let firstRow = 0;
  for (const { address, dtype, rows, rowStride, transposed = false, mapped = false } of parts) {
    context.kernels.weft_quantize_rows(
      context.pool,
      sections[0],
      firstRow,
      address,
      weightFormat(dtype),
      rows,
      transposed ? 1 : rowStride,
      transposed ? rowStride : 1,
      mapped ? 1 : 0,
    );
    firstRow += rows;
  }
  return weight;
}

/**
 * Copies stacked parts that hold integers. Throws TypeError where they differ in width, RangeError where
 * an input's group does not exist.
 */
export function importParts(
  context: Context,
  parts: readonly QuantizedMatrix[],
  options: ProductOptions,
): PackedWeight {
  for (const { dtype } of parts) {
    if (dtype !== parts[0].dtype) {
      throw new TypeError(
        `Cannot make a weight as its parts differ in width: ${parts[0].dtype} and ${dtype}`,
      );
    }
  }
  const layouts = parts.map((part) => layoutOf(context, part, options.blockSize));
  const sections: (Section & { parts: QuantizedMatrix[] })[] = [];
  parts.forEach((part, i) => {
    const last = sections.at(-1);
    const stacks = last !== undefined && sameLayout(last.layout, layouts[i]);
    const stacked = stacks ? [...last.parts, part] : [part];
    if (stacks) sections.pop();
    const dtypes = new Set(stacked.map(({ scales }) => scales.dtype));
    sections.push({
      layout: stacks ? last.layout : layouts[i],
      rows: stacked.reduce((sum, { rows }) => sum + rows, 0),
      scaleFormat: dtypes.size === 1 ? part.scales.dtype : "f32",
      hasZeros: stacked.some(({ zeros }) => zeros !== null),
      parts: stacked,
    });
  });
  const allocated = allocateSections(context, sections, options.exact);
  if (!allocated.isPacked) {
    sections.forEach(({ parts }, i) =>
      importSection(context, allocated.sections[i], parts, options)
    );
  }
  return allocated.weight;
}

function importSection(
  context: Context,
  section: bigint,
  parts: readonly QuantizedMatrix[],
  { blockSize }: ProductOptions,
): void {
  let firstRow = 0;
  for (const part of parts) {
    // Parts of one order may have other groups: a slice of each begins where it likes.
    const groups = Int32Array.from(
      layoutOf(context, part, blockSize).segments,
      ({ group }) => group,
    );
    const groupAddress = context.memory.allocate(groups.byteLength);
    try {
      context.memory.upload(groupAddress, groups);
      const source = BigInt64Array.of(
        PACKINGS[part.packing],
        part.values,
        part.scales.address,
        BigInt(weightFormat(part.scales.dtype)),
        part.zeros ?? 0n,
        BigInt(part.zeroOffset),
        groupAddress,
        BigInt(part.storedRows),
        BigInt(part.storedColumns),
        BigInt(part.firstRow),
        BigInt(part.rows),
        BigInt(part.firstColumn),
        BigInt(part.columns),
        BigInt(firstRow),
        part.mapped ? 1n : 0n,
      );
      context.kernels.weft_import_rows(context.pool, section, new Uint8Array(source.buffer));
    } finally {
      context.memory.free(groupAddress);
    }
    firstRow += part.rows;
  }
}

function layoutOf(
  { memory }: Context,
  part: QuantizedMatrix,
  blockSize: number,
): QuantizedLayout {
  const { columns, firstColumn, groupSize, groupOfInput } = part;
  const groups = new Int32Array(columns);
  if (groupOfInput === null) {
    for (let i = 0; i < columns; i++) groups[i] = Math.floor((firstColumn + i) / groupSize);
  } else {
    memory.download(groups, groupOfInput + 4n * BigInt(firstColumn));
  }
  const count = Math.ceil(part.storedColumns / groupSize);
  const wrong = groups.findIndex((group) => group < 0 || group >= count);
  if (wrong >= 0) {
    throw new RangeError(
      `Cannot make a weight as input ${firstColumn + wrong} is not in one of ${count} groups: ` +
        `its group is ${groups[wrong]}`,
    );
  }
  return quantizedLayout({ bits: WIDTHS[part.dtype], columns, blockSize, groups });
}

// One block of packed memory: panels, scales, zeros, order and segments of each section. Structures that
// point into it lie elsewhere, as others may have it at another address.
function allocateSections(
  { memory }: Context,
  sections: readonly Section[],
  exact: boolean,
): { weight: PackedWeight; sections: readonly bigint[]; isPacked: boolean } {
  const sizes = sections.map(sizesOf);
  const bytes = sizes.flat().reduce((sum, size) => sum + aligned(size), 0);
  const { address, isPacked } = memory.packed.allocate(bytes);
  let next = address;
  const take = (size: number): bigint => {
    const taken = next;
    next += BigInt(aligned(size));
    return taken;
  };
  let tokenOffset = 0;
  const fields = sections.map(({ layout, rows, scaleFormat, hasZeros }, i) => {
    const [panels, scales, zeros, order, segments] = sizes[i].map(take);
    if (!isPacked) {
      if (layout.order !== null) memory.upload(order, layout.order);
      memory.upload(segments, Int32Array.from(layout.segments.flatMap(segmentFields)));
    }
    const offset = tokenOffset;
    tokenOffset += aligned(exact ? 4 * layout.places : layout.places + 8 * layout.segments.length);
    return [
      panels,
      scales,
      hasZeros ? zeros : 0n,
      layout.order === null ? 0n : order,
      segments,
      BigInt(layout.segments.length),
      BigInt(rows),
      BigInt(layout.blocks),
      BigInt(layout.units),
      BigInt(layout.tileInputs),
      BigInt(layout.places),
      BigInt(offset),
      BigInt(layout.bits),
      BigInt(weightFormat(scaleFormat)),
      BigInt(1 << layout.bits - 1),
    ];
  });
  const structures = memory.allocate(8 * SECTION_FIELDS * sections.length);
  memory.upload(structures, BigInt64Array.from(fields.flat()));
  return {
    isPacked,
    weight: {
      address,
      structures,
      // weft_quantized of native/cpu/quantized.h.
      fields: [structures, BigInt(sections.length), exact ? 1n : 0n],
      tokenBytes: tokenOffset,
    },
    sections: fields.map((_, i) => structures + BigInt(8 * SECTION_FIELDS * i)),
  };
}

/** Bytes of a section's panels, scales, zeros, order and segments. */
function sizesOf({ layout, rows, scaleFormat, hasZeros }: Section): number[] {
  const panels = Math.ceil(rows / PANEL_ROWS);
  const scales = panels * PANEL_ROWS * layout.segments.length;
  return [
    panels * layout.units * UNIT_BYTES + PANEL_SLACK,
    scales * dtypeBytes(scaleFormat),
    hasZeros ? scales * (layout.bits === 8 ? 2 : 1) : 0,
    layout.order?.byteLength ?? 0,
    layout.segments.length * 16,
  ];
}

function segmentFields(
  { first, length, place, endsBlock }: QuantizedLayout["segments"][number],
): number[] {
  return [first, length, place, endsBlock ? 1 : 0];
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
