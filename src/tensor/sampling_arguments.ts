/**
 * The checks of the sampling kernels' arguments, the same for every backend.
 * @module
 */
import { checkCount, checkMatrix, checkVector, MAX_KERNEL_INTEGER } from "./kernel_arguments.ts";
import {
  LOGIT_ENTRY_WORDS,
  type LogitEntries,
  type SamplingKernels,
  type ThresholdRound,
} from "./sampling_kernels.ts";
import type { Tensor } from "./tensor.ts";

const MAX_BLOCKS = 64;
const HISTOGRAM_BINS = 256;
// Vectors of a row are numbered in f32 lanes, which count to 2^24.
const MAX_VOCABULARY = 2 ** 28;
const VOCABULARY_SIZES = { minimum: 1, maximum: MAX_VOCABULARY } as const;

/** `kernels` behind checks: each throws RangeError for sizes, types and shapes that do not fit. */
export function checkedSamplingKernels(kernels: SamplingKernels): SamplingKernels {
  return {
    topK(values, ids, x, rows, options) {
      const { size, k, firstId } = options;
      checkShard("topK", size, firstId);
      checkRange("topK", "k", k, { minimum: 1, maximum: size });
      checkMatrix("topK", "x", x, rows, size);
      checkVector("topK", "values", values, rows * k);
      checkVector("topK", "ids", ids, rows * k, "i32");
      kernels.topK(values, ids, x, rows, options);
    },

    adjustLogits(logits, rows, options) {
      checkEntries("adjustLogits", logits, rows, options);
      kernels.adjustLogits(logits, rows, options);
    },

    restoreLogits(logits, rows, options) {
      checkEntries("restoreLogits", logits, rows, options);
      kernels.restoreLogits(logits, rows, options);
    },

    maskLogits(logits, rows, options) {
      const { size, firstId, masks, maskRows } = options;
      checkShard("maskLogits", size, firstId);
      checkMatrix("maskLogits", "logits", logits, rows, size);
      checkVector("maskLogits", "masks", masks, masks.size, "i32");
      checkVector("maskLogits", "maskRows", maskRows, rows, "i32");
      kernels.maskLogits(logits, rows, options);
    },

    logSumExp(stats, logits, rows, options) {
      const { size, blockSize } = options;
      checkShard("logSumExp", size, 0);
      checkRange("logSumExp", "blockSize", blockSize, {
        minimum: Math.ceil(size / MAX_BLOCKS),
        maximum: MAX_KERNEL_INTEGER,
      });
      checkMatrix("logSumExp", "logits", logits, rows, size);
      checkVector("logSumExp", "stats", stats, rows * 2);
      kernels.logSumExp(stats, logits, rows, options);
    },

    mergeLogSumExp(stats, gathered, rows, parts) {
      checkRange("mergeLogSumExp", "parts", parts, { minimum: 1, maximum: MAX_BLOCKS });
      checkVector("mergeLogSumExp", "stats", stats, rows * 2);
      checkVector("mergeLogSumExp", "gathered", gathered, parts * rows * 2);
      kernels.mergeLogSumExp(stats, gathered, rows, parts);
    },

    minPThresholds(thresholds, stats, offsets, rows) {
      checkVector("minPThresholds", "thresholds", thresholds, rows);
      checkVector("minPThresholds", "stats", stats, rows * 2);
      checkVector("minPThresholds", "offsets", offsets, rows, "f64");
      kernels.minPThresholds(thresholds, stats, offsets, rows);
    },

    logitHistogram(histogram, logits, rows, options) {
      const { size, thresholds, stats, temperatures } = options;
      checkShard("logitHistogram", size, 0);
      checkRound("logitHistogram", rows, options);
      checkMatrix("logitHistogram", "logits", logits, rows, size);
      checkVector("logitHistogram", "histogram", histogram, rows * HISTOGRAM_BINS, "f64");
      checkVector("logitHistogram", "thresholds", thresholds, rows);
      checkVector("logitHistogram", "stats", stats, rows * 2);
      checkVector("logitHistogram", "temperatures", temperatures, rows);
      kernels.logitHistogram(histogram, logits, rows, options);
    },

    narrowThresholds(thresholds, histogram, rows, options) {
      checkRound("narrowThresholds", rows, options);
      checkVector("narrowThresholds", "thresholds", thresholds, rows);
      checkVector("narrowThresholds", "histogram", histogram, rows * HISTOGRAM_BINS, "f64");
      checkVector("narrowThresholds", "targets", options.targets, rows, "f64");
      checkVector("narrowThresholds", "above", options.above, rows, "f64");
      kernels.narrowThresholds(thresholds, histogram, rows, options);
    },

    gumbelArgmax(values, ids, logits, rows, options) {
      const { size, firstId, temperatures, seeds, choices, positions, thresholds } = options;
      checkShard("gumbelArgmax", size, firstId);
      checkMatrix("gumbelArgmax", "logits", logits, rows, size);
      checkVector("gumbelArgmax", "values", values, rows);
      checkVector("gumbelArgmax", "ids", ids, rows, "i32");
      checkVector("gumbelArgmax", "temperatures", temperatures, rows);
      checkVector("gumbelArgmax", "seeds", seeds, rows * 2, "i32");
      checkVector("gumbelArgmax", "choices", choices, rows, "i32");
      checkVector("gumbelArgmax", "positions", positions, rows, "i32");
      checkVector("gumbelArgmax", "thresholds", thresholds, rows);
      kernels.gumbelArgmax(values, ids, logits, rows, options);
    },

    mergeDraws(tokens, draws, rows, parts) {
      checkRange("mergeDraws", "parts", parts, { minimum: 1, maximum: MAX_KERNEL_INTEGER });
      checkVector("mergeDraws", "tokens", tokens, rows, "i32");
      checkVector("mergeDraws", "draws", draws, parts * 2 * rows, "i32");
      kernels.mergeDraws(tokens, draws, rows, parts);
    },

    scatterTokens(slotTokens, tokens, slots, rows) {
      checkVector("scatterTokens", "slotTokens", slotTokens, slotTokens.size, "i32");
      checkVector("scatterTokens", "tokens", tokens, rows, "i32");
      checkVector("scatterTokens", "slots", slots, rows, "i32");
      kernels.scatterTokens(slotTokens, tokens, slots, rows);
    },

    gatherTokens(ids, slotTokens, sources, rows) {
      checkVector("gatherTokens", "slotTokens", slotTokens, slotTokens.size, "i32");
      checkVector("gatherTokens", "ids", ids, rows, "i32");
      checkVector("gatherTokens", "sources", sources, rows, "i32");
      kernels.gatherTokens(ids, slotTokens, sources, rows);
    },

    gatherLogits(values, logits, ids, rows, options) {
      const { size, firstId } = options;
      checkShard("gatherLogits", size, firstId);
      checkMatrix("gatherLogits", "logits", logits, rows, size);
      checkVector("gatherLogits", "values", values, rows);
      checkVector("gatherLogits", "ids", ids, rows, "i32");
      kernels.gatherLogits(values, logits, ids, rows, options);
    },
  };
}

function checkShard(kernel: string, size: number, firstId: number): void {
  checkRange(kernel, "size", size, VOCABULARY_SIZES);
  checkCount(kernel, "firstId", firstId);
  checkCount(kernel, "firstId + size", firstId + size);
}

function checkEntries(kernel: string, logits: Tensor, rows: number, options: LogitEntries): void {
  const { size, firstId, starts, entries, saved } = options;
  checkShard(kernel, size, firstId);
  checkMatrix(kernel, "logits", logits, rows, size);
  checkVector(kernel, "starts", starts, rows + 1, "i32");
  checkVector(kernel, "entries", entries, LOGIT_ENTRY_WORDS * saved.size, "i32");
  checkVector(kernel, "saved", saved, saved.size);
}

function checkRound(kernel: string, rows: number, search: ThresholdRound): void {
  checkRange(kernel, "round", search.round, { minimum: 0, maximum: 3 });
  checkVector(kernel, "shares", search.shares, rows, "f64");
  checkVector(kernel, "prefixes", search.prefixes, rows, "i32");
}

function checkRange(
  kernel: string,
  name: string,
  value: number,
  { minimum, maximum }: { minimum: number; maximum: number },
): void {
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw new RangeError(
      `Cannot run ${kernel} as ${name} must be an integer from ${minimum} to ${maximum}: current value is ${value}`,
    );
  }
}
