/**
 * How large a step may become.
 * @module
 */
import type { ModelConfig } from "../models/model_config.ts";
import type { DeviceKind } from "../tensor/device.ts";
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import { positive } from "./positive.ts";
import type { EngineOptions } from "./types.ts";

/** Requests that run at once when nothing is said; fewer where a step takes fewer tokens. */
export const DEFAULT_MAX_NUM_SEQS: Readonly<Record<DeviceKind, number>> = { cpu: 64, cuda: 256 };

/**
 * Tokens of a step when nothing is said. A step is how long a decoding request waits for its next token
 * beside somebody's long prompt; on a CPU larger steps are no faster (measured: 256 tokens as fast as
 * 1024, 64 a few per cent slower). A GPU needs thousands of rows to be busy with products.
 */
const DEFAULT_MAX_NUM_BATCHED_TOKENS: Readonly<Record<DeviceKind, number>> = {
  cpu: 256,
  cuda: 8192,
};

/**
 * Cached blocks that requests take over in one step, where the longest context has no more: so many entries of
 * block tables that no step waits for them, in little memory.
 */
const MAX_HIT_BLOCKS = 2 ** 14;

/** Bytes of logits computed at once, at most. */
const MAX_LOGIT_BYTES: Readonly<Record<DeviceKind, number>> = { cpu: 64 << 20, cuda: 512 << 20 };

/** Logits that a step may change for each sequence, on average: a long chat has as many different tokens. */
const ADJUSTMENTS_PER_SEQUENCE = 1024;

/** Limits of a step. */
export interface StepLimits {
  /** Positions that a request may take. */
  readonly maxModelLen: number;
  /** Requests that run at once. */
  readonly maxNumSeqs: number;
  /** Tokens computed in one step. */
  readonly maxNumBatchedTokens: number;
  /** Rows of logits that are computed at once: one for each sequence, within a limit of memory. */
  readonly maxLogitRows: number;
  /** Cached blocks that requests take over in one step; 0 without a prefix cache. */
  readonly maxHitBlocks: number;
  /** Logits that are changed in one step by penalties, biases and bans, of all requests together. */
  readonly maxAdjustments: number;
}

/** Settles the limits; what is left out follows from what is given. Throws RangeError. */
export function stepLimits(
  options: EngineOptions,
  { device, modelConfig }: { readonly device: DeviceKind; readonly modelConfig: ModelConfig },
): StepLimits {
  const { maxPositionEmbeddings, vocabSize } = modelConfig;
  const maxNumSeqs = positive(
    "maxNumSeqs",
    options.maxNumSeqs ??
      Math.min(DEFAULT_MAX_NUM_SEQS[device], options.maxNumBatchedTokens ?? Infinity),
  );
  const maxNumBatchedTokens = positive(
    "maxNumBatchedTokens",
    options.maxNumBatchedTokens ?? Math.max(DEFAULT_MAX_NUM_BATCHED_TOKENS[device], maxNumSeqs),
  );
  if (maxNumBatchedTokens < maxNumSeqs) {
    throw new RangeError(
      `Cannot run ${maxNumSeqs} sequences in steps of at most ${maxNumBatchedTokens} tokens: ` +
        `maxNumBatchedTokens must be at least maxNumSeqs`,
    );
  }
  const maxModelLen = positive("maxModelLen", options.maxModelLen ?? maxPositionEmbeddings);
  if (maxModelLen > maxPositionEmbeddings) {
    throw new RangeError(
      `Cannot serve ${maxModelLen} positions as the model was trained for ` +
        `${maxPositionEmbeddings}: lower maxModelLen`,
    );
  }
  const fitting = Math.max(1, Math.floor(MAX_LOGIT_BYTES[device] / (4 * vocabSize)));
  return {
    maxModelLen,
    maxNumSeqs,
    // Buffers are as large as a step may become, and no step is larger than what fits its sequences.
    maxNumBatchedTokens: Math.min(maxNumBatchedTokens, maxNumSeqs * maxModelLen),
    maxLogitRows: Math.min(maxNumSeqs, fitting),
    maxHitBlocks: options.enablePrefixCaching ?? true ? hitBlocks(maxNumSeqs, maxModelLen) : 0,
    maxAdjustments: Math.max(vocabSize, maxNumSeqs * ADJUSTMENTS_PER_SEQUENCE),
  };
}

/** Positions that a request may take in a cache of `numBlocks` blocks. */
export function positionsInCache({ maxModelLen }: StepLimits, numBlocks: number): number {
  return Math.min(maxModelLen, numBlocks * KV_BLOCK_SIZE);
}

function hitBlocks(maxNumSeqs: number, maxModelLen: number): number {
  const context = Math.ceil(maxModelLen / KV_BLOCK_SIZE);
  return Math.min(maxNumSeqs * context, Math.max(context, MAX_HIT_BLOCKS));
}
