/**
 * Matrices on their way from host memory to a GPU.
 * @module
 */
import { dtypeBytes } from "../dtype.ts";
import type { HostMatrix } from "../linear_kernels.ts";
import type { CudaContext } from "./context.ts";
import type { ConversionTarget, Convert } from "./convert.ts";
import type { CudaMemory } from "./memory.ts";

/** Device memory that parts are uploaded to before they are converted. */
export const STAGING_BYTES: number = 32 << 20;

/** Rows in host memory. */
export type HostRows = Pick<HostMatrix, "address" | "dtype" | "rows" | "columns" | "rowStride">;

/** Copies rows as they are, at once where nothing lies between them. */
export function uploadRows(
  memory: CudaMemory,
  target: { readonly address: bigint; readonly rowStride: number },
  source: HostRows,
): void {
  const { rows, columns, rowStride } = source;
  const bytes = dtypeBytes(source.dtype);
  if (rowStride === columns && target.rowStride === columns) {
    memory.uploadFrom(target.address, source.address, rows * columns * bytes);
    return;
  }
  const targetStride = BigInt(target.rowStride * bytes);
  const sourceStride = BigInt(rowStride * bytes);
  for (let row = 0n; row < rows; row++) {
    memory.uploadFrom(
      target.address + row * targetStride,
      source.address + row * sourceStride,
      columns * bytes,
    );
  }
}

/**
 * Uploads some rows at a time as they are stored, and converts them from there; waits for the end, as
 * kernels read weights before they wait for the kernels ahead of them, such as these.
 */
export function uploadConverted(
  context: CudaContext,
  convert: Convert,
  target: ConversionTarget,
  part: HostMatrix,
): void {
  const { memory, stream } = context;
  const { dtype, rowStride, transposed = false } = part;
  const [rows, columns] = transposed ? [part.columns, part.rows] : [part.rows, part.columns];
  if (rows === 0 || columns === 0) return;
  const bytes = dtypeBytes(dtype);
  const chunkRows = Math.min(rows, Math.max(1, Math.floor(STAGING_BYTES / (columns * bytes))));
  const staging = memory.allocate(chunkRows * columns * bytes);
  try {
    for (let row = 0; row < rows; row += chunkRows) {
      const count = Math.min(chunkRows, rows - row);
      const address = part.address + BigInt(row) * BigInt(rowStride * bytes);
      uploadRows(memory, { address: staging, rowStride: columns }, {
        address,
        dtype,
        rows: count,
        columns,
        rowStride,
      });
      const skipped = transposed ? row : row * target.rowStride;
      const out = {
        ...target,
        address: target.address + BigInt(skipped * dtypeBytes(target.dtype)),
      };
      const staged = { address: staging, dtype };
      if (transposed) {
        convert(out, { ...staged, rowStride: 1, columnStride: columns }, {
          rows: columns,
          columns: count,
        });
      } else {
        convert(out, { ...staged, rowStride: columns }, { rows: count, columns });
      }
    }
  } finally {
    stream.synchronize();
    memory.free(staging);
  }
}
