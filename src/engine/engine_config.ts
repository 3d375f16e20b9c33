/**
 * Settles an engine's options against its model and its host: what every rank must agree on.
 * @module
 */
import { partitionHeads } from "../layers/partition.ts";
import { type ModelConfig, readModelConfig } from "../models/model_config.ts";
import { stageOf } from "../models/pipeline_stages.ts";
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import type { WeightDType } from "../tensor/dtype.ts";
import { CapacityError } from "../tensor/errors.ts";
import { availableCores, availableMemory, totalMemory } from "./host_resources.ts";
import type { EngineOptions } from "./types.ts";

/** Share of the free memory that the KV cache takes when nothing is said. */
const DEFAULT_KV_SHARE = 0.25;

/** Requests that run at once when nothing is said; fewer where a step takes fewer tokens. */
const DEFAULT_MAX_NUM_SEQS = 64;

/**
 * Tokens of a step when nothing is said. A step is how long a decoding request waits for its next token
 * beside somebody's long prompt; on a CPU larger steps are no faster (measured: 256 tokens as fast as
 * 1024, 64 a few per cent slower).
 */
const DEFAULT_MAX_NUM_BATCHED_TOKENS = 256;

/** An engine's settled options. Plain data: it is handed to every rank. */
export interface EngineConfig {
  /** Folder of the checkpoint. */
  readonly model: string;
  /** The model. */
  readonly modelConfig: ModelConfig;
  /** Ranks that share each layer. */
  readonly tensorParallelSize: number;
  /** Pipeline stages. */
  readonly pipelineParallelSize: number;
  /** How ranks are started. */
  readonly launcher: "thread" | "process";
  /** Where to compute. */
  readonly device: "auto" | "cpu" | "cuda";
  /** Storage of linear weights; null keeps the checkpoint's. */
  readonly format: WeightDType | null;
  /** Where weights come from. */
  readonly loadFormat: "safetensors" | "dummy";
  /** Threads of each rank. */
  readonly threads: number;
  /** Whether ranks may spin while they wait: only when each thread has a core to itself. */
  readonly spin: boolean;
  /** Positions that a request may take: what the context and the cache both hold. */
  readonly maxModelLen: number;
  /** Requests that run at once. */
  readonly maxNumSeqs: number;
  /** Tokens computed in one step. */
  readonly maxNumBatchedTokens: number;
  /** Blocks of the KV cache. */
  readonly numBlocks: number;
}

/**
 * Bytes that one block of the KV cache takes over all ranks of a layout; key/value heads that several
 * ranks hold count for each.
 */
export function kvBlockBytes(
  config: ModelConfig,
  layout: { tensorParallelSize: number },
): number {
  const parts = layout.tensorParallelSize;
  let heads = 0;
  for (let rank = 0; rank < parts; rank++) {
    heads += partitionHeads(config, { rank, parts }).numKvHeads;
  }
  const bytesPerElement = 4;
  return config.numLayers * heads * config.headDim * KV_BLOCK_SIZE * 2 * bytesPerElement;
}

/**
 * Reads the model's config and settles every option.
 *
 * @throws {ModelLoadError} when the config cannot be served.
 * @throws {RangeError} when the layout does not fit the model or an option is out of range.
 */
export function resolveEngineConfig(options: EngineOptions): EngineConfig {
  const config = readModelConfig(options.model);
  const tensorParallelSize = positive("tensorParallelSize", options.tensorParallelSize ?? 1);
  const pipelineParallelSize = positive("pipelineParallelSize", options.pipelineParallelSize ?? 1);
  partitionHeads(config, { rank: 0, parts: tensorParallelSize });
  stageOf(config, { rank: 0, stages: pipelineParallelSize });

  const replicas = positive("replicasOnHost", options.replicasOnHost ?? 1);
  const ranks = tensorParallelSize * pipelineParallelSize;
  const cores = availableCores();
  const threads = positive(
    "threads",
    options.threads ?? Math.max(1, Math.floor(cores / (ranks * replicas))),
  );
  const { maxNumSeqs, maxNumBatchedTokens } = stepLimits(options);
  const context = positive("maxModelLen", options.maxModelLen ?? config.maxPositionEmbeddings);
  if (context > config.maxPositionEmbeddings) {
    throw new RangeError(
      `Cannot serve ${context} positions as the model was trained for ` +
        `${config.maxPositionEmbeddings}: lower maxModelLen`,
    );
  }
  const numBlocks = options.numKvBlocks !== undefined
    ? positive("numKvBlocks", options.numKvBlocks)
    : blocksInMemory(config, {
      bytes: options.kvCacheMemory ?? Math.floor(availableMemory() * DEFAULT_KV_SHARE / replicas),
      tensorParallelSize,
      enough: maxNumSeqs * Math.ceil(context / KV_BLOCK_SIZE),
    });
  return {
    model: options.model,
    modelConfig: config,
    tensorParallelSize,
    pipelineParallelSize,
    launcher: options.launcher ?? "thread",
    device: options.device ?? "auto",
    format: !options.dtype || options.dtype === "auto" ? null : options.dtype,
    loadFormat: options.loadFormat ?? "safetensors",
    threads,
    spin: threads * ranks * replicas <= cores,
    maxModelLen: Math.min(context, numBlocks * KV_BLOCK_SIZE),
    maxNumSeqs,
    // Buffers are as large as a step may become, and no step is larger than what fits its sequences.
    maxNumBatchedTokens: Math.min(maxNumBatchedTokens, maxNumSeqs * context),
    numBlocks,
  };
}

/** Sequences and tokens of the largest step; what is left out follows from what is given. */
function stepLimits(
  options: EngineOptions,
): { readonly maxNumSeqs: number; readonly maxNumBatchedTokens: number } {
  const maxNumSeqs = positive(
    "maxNumSeqs",
    options.maxNumSeqs ?? Math.min(DEFAULT_MAX_NUM_SEQS, options.maxNumBatchedTokens ?? Infinity),
  );
  const maxNumBatchedTokens = positive(
    "maxNumBatchedTokens",
    options.maxNumBatchedTokens ?? Math.max(DEFAULT_MAX_NUM_BATCHED_TOKENS, maxNumSeqs),
  );
  if (maxNumBatchedTokens < maxNumSeqs) {
    throw new RangeError(
      `Cannot run ${maxNumSeqs} sequences in steps of at most ${maxNumBatchedTokens} tokens: ` +
        `maxNumBatchedTokens must be at least maxNumSeqs`,
    );
  }
  return { maxNumSeqs, maxNumBatchedTokens };
}

/** Refuses a KV cache that this host could never hold; throws CapacityError. */
export function verifyKvCacheFits({ modelConfig, numBlocks, ...layout }: EngineConfig): void {
  const bytes = numBlocks * kvBlockBytes(modelConfig, layout);
  const total = totalMemory();
  if (bytes <= total) return;
  throw new CapacityError(
    `Cannot make a KV cache of ${numBlocks} blocks as it takes ${bytes} bytes: ` +
      `the machine has ${total}`,
    bytes,
  );
}

function blocksInMemory(
  config: ModelConfig,
  options: { bytes: number; tensorParallelSize: number; enough: number },
): number {
  const blockBytes = kvBlockBytes(config, options);
  const blocks = Math.min(Math.floor(options.bytes / blockBytes), options.enough);
  if (blocks < 1) {
    throw new RangeError(
      `Cannot make a KV cache of ${options.bytes} bytes as one block takes ${blockBytes}: ` +
        `raise kvCacheMemory`,
    );
  }
  return blocks;
}

function positive(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1 || value > 0x7fffffff) {
    throw new RangeError(`Cannot use ${name} as it must be a positive 32-bit integer: ${value}`);
  }
  return value;
}
