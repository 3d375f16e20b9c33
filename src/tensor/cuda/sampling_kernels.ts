/**
 * The kernels of `native/cuda/sampling_*.cu`.
 * @module
 */
import type { SamplingKernels, ThresholdRound } from "../sampling_kernels.ts";
import type { CudaContext } from "./context.ts";
import { cudaTopK } from "./top_k.ts";

const THREADS = 256;
const WARPS = 8;
const WARP_SIZE = 32;
const BINS = 256;

/** kPartWidth: columns of a block, whatever the batch, so that a row's sums don't depend on it. */
const PART_WIDTH = 4096;
/** Most columns of a part whose masses a histogram can hold. */
const MAX_HISTOGRAM_WIDTH = 2 ** 19;
/** Blocks for which each multiprocessor has room, as a histogram's shared memory allows. */
const BLOCKS_PER_MULTIPROCESSOR = 8;

/** Bytes of what a block tells the last block of its row: two numbers. */
const PARTIAL_BYTES = 8;
/** Shared memory to merge those of a block's warps; a histogram's counters. Each with a flag. */
const MERGE_SHARED_BYTES = WARPS * PARTIAL_BYTES + 4;
const HISTOGRAM_SHARED_BYTES = WARPS * BINS * 8 + 4;

/** Workspace that is there from the start, as recordings can't grow it: 20 tops of 256 long rows. */
const RESERVED_BYTES = 8 << 20;

/** Rows that a kernel can divide among blocks. */
const MAX_ROWS = 8192;

const KINDS: Readonly<Record<ThresholdRound["kind"], number>> = { count: 1, mass: 2 };

/**
 * The sampling kernels. Several blocks share a row, and the last one to end gives the result: a draw is
 * one launch. `topK` finds up to 32; other sizes are those of the contract, with up to 8192 rows.
 */
export function cudaSamplingKernels(context: CudaContext): SamplingKernels {
  const { memory, properties } = context;
  const tickets = memory.allocate(4 * MAX_ROWS);
  memory.upload(tickets, new Int32Array(MAX_ROWS));

  context.workspace(RESERVED_BYTES);

  const logSumExp = context.kernel("sampling_log_sum_exp", [
    "pointer",
    ...["pointer", "i32", "i32"] as const, // logits
    ...["pointer", "pointer"] as const, // partials, tickets
  ]);
  const [adjust, restore] = ["sampling_adjust", "sampling_restore"].map((name) =>
    context.kernel(name, [
      ...["pointer", "i32", "i32", "i32"] as const, // logits
      ...["pointer", "pointer", "pointer", "i32"] as const, // entries
    ])
  );
  const mask = context.kernel("sampling_mask", [
    ...["pointer", "i32", "i32", "i32"] as const, // logits
    ...["pointer", "i32", "i32", "pointer"] as const, // masks
  ]);
  const mergeLogSumExp = context.kernel("sampling_merge_log_sum_exp", [
    "pointer",
    "pointer",
    "i32",
    "i32",
  ]);
  const minPThresholds = context.kernel("sampling_min_p_thresholds", [
    "pointer",
    "pointer",
    "pointer",
    "i32",
  ]);
  const histogramOf = context.kernel("sampling_histogram", [
    "pointer",
    ...["pointer", "i32", "i32"] as const, // logits
    ...["i32", "i32", "pointer", "pointer"] as const, // round, kind, shares, prefixes
    ...["pointer", "pointer", "pointer"] as const, // thresholds, stats, temperatures
    "i32",
    ...["pointer", "pointer"] as const, // partials, tickets
  ], { sharedBytes: HISTOGRAM_SHARED_BYTES });
  const narrow = context.kernel("sampling_narrow_thresholds", [
    "pointer",
    "pointer",
    ...["i32", "i32", "pointer", "pointer"] as const, // round, kind, shares, prefixes
    ...["pointer", "pointer"] as const, // targets, above
  ]);
  const gumbelArgmax = context.kernel("sampling_gumbel_argmax", [
    "pointer",
    "pointer",
    ...["pointer", "i32", "i32", "i32"] as const, // logits
    ...["pointer", "pointer", "pointer", "pointer", "pointer"] as const, // what rows ask for
    ...["pointer", "pointer"] as const, // partials, tickets
  ]);
  const mergeDraws = context.kernel("sampling_merge_draws", ["pointer", "pointer", "i32", "i32"]);
  const scatterTokens = context.kernel("sampling_scatter_tokens", [
    "pointer",
    "i32",
    "pointer",
    "pointer",
    "i32",
  ]);
  const gatherTokens = context.kernel("sampling_gather_tokens", [
    "pointer",
    "pointer",
    "i32",
    "pointer",
    "i32",
  ]);
  const gatherLogits = context.kernel("sampling_gather_logits", [
    "pointer",
    ...["pointer", "i32"] as const, // logits
    "pointer",
    ...["i32", "i32", "i32"] as const,
  ]);

  const perRow = (
    rows: number,
  ) => ({ grid: [Math.ceil(rows / THREADS)], threads: THREADS } as const);
  const perPart = (kernel: string, rows: number, parts: number, sharedBytes: number) => {
    if (rows > MAX_ROWS) {
      throw new RangeError(
        `Cannot run ${kernel} on a GPU as it takes at most ${MAX_ROWS} rows there: these are ${rows}`,
      );
    }
    return { grid: [rows, parts], threads: THREADS, sharedBytes } as const;
  };

  const changeEntries = (
    kernel: typeof adjust,
    [logits, rows, { size, firstId, starts, entries, saved }]: Parameters<
      SamplingKernels["adjustLogits"]
    >,
  ) =>
    kernel.launch({ grid: [rows], threads: THREADS }, [
      logits.address,
      logits.rowStride,
      size,
      firstId,
      starts.address,
      entries.address,
      saved.address,
      saved.size,
    ]);

  return {
    topK: cudaTopK(context),

    adjustLogits: (...call) => changeEntries(adjust, call),

    restoreLogits: (...call) => changeEntries(restore, call),

    maskLogits(logits, rows, { size, firstId, masks, maskRows }) {
      const [numMasks, words] = masks.shape;
      mask.launch({ grid: [rows, Math.ceil(size / PART_WIDTH)], threads: THREADS }, [
        logits.address,
        logits.rowStride,
        size,
        firstId,
        masks.address,
        words,
        numMasks,
        maskRows.address,
      ]);
    },

    logSumExp(stats, logits, rows, { size }) {
      const parts = Math.ceil(size / PART_WIDTH);
      logSumExp.launch(perPart("logSumExp", rows, parts, MERGE_SHARED_BYTES), [
        stats.address,
        logits.address,
        logits.rowStride,
        size,
        context.workspace(rows * parts * PARTIAL_BYTES),
        tickets,
      ]);
    },

    mergeLogSumExp(stats, gathered, rows, parts) {
      mergeLogSumExp.launch(perRow(rows), [stats.address, gathered.address, rows, parts]);
    },

    minPThresholds(thresholds, stats, offsets, rows) {
      const { address } = thresholds;
      minPThresholds.launch(perRow(rows), [address, stats.address, offsets.address, rows]);
    },

    logitHistogram(histogram, logits, rows, options) {
      const { size } = options;
      const width = histogramWidth(rows, size, properties.multiprocessors);
      const parts = Math.ceil(size / width);
      histogramOf.launch(perPart("logitHistogram", rows, parts, HISTOGRAM_SHARED_BYTES), [
        histogram.address,
        logits.address,
        logits.rowStride,
        size,
        options.round,
        KINDS[options.kind],
        options.shares.address,
        options.prefixes.address,
        options.thresholds.address,
        options.stats.address,
        options.temperatures.address,
        width,
        context.workspace(rows * parts * BINS * 8),
        tickets,
      ]);
    },

    narrowThresholds(thresholds, histogram, rows, options) {
      narrow.launch({ grid: [rows], threads: WARP_SIZE }, [
        thresholds.address,
        histogram.address,
        options.round,
        KINDS[options.kind],
        options.shares.address,
        options.prefixes.address,
        options.targets.address,
        options.above.address,
      ]);
    },

    gumbelArgmax(values, ids, logits, rows, options) {
      const { size, firstId } = options;
      // Parts begin where blocks of four random words do, which may be before the first id.
      const parts = Math.ceil((size + firstId % 4) / PART_WIDTH);
      gumbelArgmax.launch(perPart("gumbelArgmax", rows, parts, MERGE_SHARED_BYTES), [
        values.address,
        ids.address,
        logits.address,
        logits.rowStride,
        size,
        firstId,
        options.temperatures.address,
        options.seeds.address,
        options.choices.address,
        options.positions.address,
        options.thresholds.address,
        context.workspace(rows * parts * PARTIAL_BYTES),
        tickets,
      ]);
    },

    mergeDraws(tokens, draws, rows, parts) {
      mergeDraws.launch(perRow(rows), [tokens.address, draws.address, rows, parts]);
    },

    scatterTokens(slotTokens, tokens, slots, rows) {
      const { address, size } = slotTokens;
      scatterTokens.launch(perRow(rows), [address, size, tokens.address, slots.address, rows]);
    },

    gatherTokens(ids, slotTokens, sources, rows) {
      const { address, size } = slotTokens;
      gatherTokens.launch(perRow(rows), [ids.address, address, size, sources.address, rows]);
    },

    gatherLogits(values, logits, ids, rows, { size, firstId }) {
      gatherLogits.launch(perRow(rows), [
        values.address,
        logits.address,
        logits.rowStride,
        ids.address,
        rows,
        size,
        firstId,
      ]);
    },
  };
}

/** Counters cost the same for parts of any width: they are as wide as leaves no multiprocessor idle. */
function histogramWidth(rows: number, size: number, multiprocessors: number): number {
  const blocks = rows * Math.ceil(size / PART_WIDTH);
  const parts = Math.floor(blocks / (multiprocessors * BLOCKS_PER_MULTIPROCESSOR));
  return PART_WIDTH * Math.min(Math.max(1, parts), MAX_HISTOGRAM_WIDTH / PART_WIDTH);
}
