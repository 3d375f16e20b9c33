/**
 * The largest logits of each row, by the kernel of `native/cuda/sampling_logprobs.cu`.
 * @module
 */
import type { SamplingKernels } from "../sampling_kernels.ts";
import type { CudaContext } from "./context.ts";

const THREADS = 256;
const WARPS = 8;
/** Entries of which a block finds the best. */
const ENTRIES_PER_BLOCK = 2048;
/** What one warp can choose from holds this many for each warp of a block. */
const MAX_K = 32;
const CANDIDATE_BYTES = 8;

/** `topK` for k up to 32: in rounds, each block of one leaving the k best of 2048 entries. */
export function cudaTopK(context: CudaContext): SamplingKernels["topK"] {
  const kernel = context.kernel("sampling_top_k", [
    ...["pointer", "pointer"] as const, // values, ids
    ...["pointer", "pointer"] as const, // entries, their ids
    ...["i32", "i32"] as const, // stride, size
    "i32",
    "i32",
  ]);

  return (values, ids, x, rows, { size, k, firstId }) => {
    if (k > MAX_K) {
      throw new RangeError(
        `Cannot run topK on a GPU as k must be at most ${MAX_K} there: current value is ${k}`,
      );
    }
    const widths = roundWidths(size, k);
    // The rounds but the last one leave their results side by side, values before ids.
    const bytes = widths.map((width) => rows * width * CANDIDATE_BYTES);
    let free = context.workspace(bytes.reduce((sum, length) => sum + length, 0));
    let entries = { values: x.address, ids: 0n, stride: x.rowStride, size };
    for (let round = 0; round <= widths.length; round++) {
      const last = round === widths.length;
      const width = last ? k : widths[round];
      const target = last
        ? { values: values.address, ids: ids.address }
        : { values: free, ids: free + BigInt(bytes[round] / 2) };
      kernel.launch(
        {
          grid: [rows, Math.ceil(entries.size / ENTRIES_PER_BLOCK)],
          threads: THREADS,
          sharedBytes: WARPS * k * CANDIDATE_BYTES,
        },
        [
          target.values,
          target.ids,
          entries.values,
          entries.ids,
          entries.stride,
          entries.size,
          k,
          firstId,
        ],
      );
      entries = { ...target, stride: width, size: width };
      if (!last) free += BigInt(bytes[round]);
    }
  };
}

/** Entries that each round but the last one leaves of a row. */
function roundWidths(size: number, k: number): number[] {
  const widths: number[] = [];
  for (let width = size; width > ENTRIES_PER_BLOCK;) {
    width = Math.ceil(width / ENTRIES_PER_BLOCK) * k;
    widths.push(width);
  }
  return widths;
}
