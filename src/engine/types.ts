/**
 * What users of an engine see: requests, sampling parameters, and streamed outputs.
 * @module
 */

import type { WeightStoreHandle } from "../tensor/cpu/weight_store.ts";

/** How tokens are drawn. Defaults are those of the OpenAI API and vLLM. */
export interface SamplingParams {
  /** Divides the logits; 0 is greedy. From 0 to 2 over HTTP; any finite value >= 0 here. Default 1. */
  readonly temperature: number;
  /** Keep the k most likely tokens; 0 keeps all. Default 0. */
  readonly topK: number;
  /** Keep the smallest set of most likely tokens whose probability reaches this. (0, 1], default 1. */
  readonly topP: number;
  /** Keep tokens at least this likely relative to the most likely one. [0, 1], default 0. */
  readonly minP: number;
  /** Taken off the logit of every token that was generated. From -2 to 2, default 0. */
  readonly presencePenalty: number;
  /** Taken off the logit of a token for each time that it was generated. From -2 to 2, default 0. */
  readonly frequencyPenalty: number;
  /**
   * Divides the logit of every token of prompt and output where it is above 0, and multiplies it elsewhere. From
   * 0.01 to 100, default 1.
   */
  readonly repetitionPenalty: number;
  /** Added to the logits of tokens, by id: from -100 to 100. None by default. */
  readonly logitBias: Readonly<Record<number, number>>;
  /** Texts that are not generated, at the start of a word or inside of one; needs a tokenizer. None by default. */
  readonly badWords: readonly string[];
  /** The only tokens that may be generated; null for all, the default. */
  readonly allowedTokenIds: readonly number[] | null;
  /** Unsigned 64-bit seed: same seed, same tokens, on any layout and load. Random when null. */
  readonly seed: bigint | null;
  /** Tokens to generate at most. Default 16. */
  readonly maxTokens: number;
  /** Tokens that are generated before an end token, a stop token or a stop text ends it. Default 0. */
  readonly minTokens: number;
  /** Texts that end the generation; not part of the output, unless `includeStopStrInOutput`. */
  readonly stop: readonly string[];
  /** Token ids that end the generation; part of `tokenIds`, not of the text. */
  readonly stopTokenIds: readonly number[];
  /** Whether the text ends with the stop text, or with the text of the stop token. Default false. */
  readonly includeStopStrInOutput: boolean;
  /** Whether special tokens have no text. Default true. */
  readonly skipSpecialTokens: boolean;
  /** Go on past the model's end tokens. */
  readonly ignoreEos: boolean;
  /** Log-probabilities of this many top tokens beside each token; -1 the whole vocabulary; null none. */
  readonly logprobs: number | null;
  /** The same for the tokens of the prompt (0: only the prompt's own tokens); null none. */
  readonly promptLogprobs: number | null;
}

/** A request: text or token ids. */
export interface GenerateRequest {
  /** Text to continue; needs a tokenizer. */
  readonly prompt?: string;
  /** Token ids to continue; taken as they are. */
  readonly promptTokenIds?: readonly number[];
  /** Names what belongs together, such as a conversation: a router may send it to one replica. */
  readonly session?: string;
  /** What it is a part of: generations that bring the same object come from the same weights. */
  readonly answer?: object;
  /** Sampling parameters; what is left out takes the model's `generation_config.json` or the default. */
  readonly sampling?: Partial<SamplingParams>;
  /** Number of this among the generations of one prompt, which takes part in every draw. Default 0. */
  readonly choice?: number;
  /**
   * Lower ones are served first, among equals who came first. Other than 0 only under `schedulingPolicy`
   * `priority`. A whole number of 32 bits, default 0.
   */
  readonly priority?: number;
  /** Only requests with the same salt share cached blocks: nobody else can find out by time what it holds. */
  readonly cacheSalt?: string;
  /** False takes nothing from the prefix cache and leaves nothing there. Default true. */
  readonly cachePrompt?: boolean;
  /** Cancels the request; its blocks are freed when the steps in flight have retired. */
  readonly signal?: AbortSignal;
}

/** Log-probability of one token and of the most likely ones at its place. */
export interface TokenLogprob {
  /** The token. */
  readonly tokenId: number;
  /** Its natural-log probability before temperature and truncation. */
  readonly logprob: number;
  /** The most likely tokens, descending: `[id, logprob]`. */
  readonly top: readonly (readonly [number, number])[];
}

/** Why a generation ended. */
export type FinishReason = "stop" | "length" | "abort";

/** Tokens that one step added to a request. */
export interface GenerationChunk {
  /** New token ids. */
  readonly tokenIds: readonly number[];
  /** New text (empty without tokenizer, or while a character is incomplete). */
  readonly text: string;
  /** One entry per new token, when asked for. */
  readonly logprobs?: readonly TokenLogprob[];
  /** On the first chunk, when asked for: one entry per prompt token, the first null. */
  readonly promptLogprobs?: readonly (TokenLogprob | null)[];
  /** On the first chunk: tokens of the prompt that were not computed, as the prefix cache had them; left out for none. */
  readonly cachedTokens?: number;
  /** On the first chunk: time that the request waited in the engine until it was first computed, in seconds. */
  readonly queueSeconds?: number;
  /** Set on the last chunk. */
  readonly finishReason: FinishReason | null;
  /** The stop text or token id that ended the generation; null for an end token or length. */
  readonly stopReason: string | number | null;
  /** Version of the weights that the generation comes from: one for all of its chunks. */
  readonly weightVersion: string;
}

/** Counters and gauges of one engine, for `/metrics` and the router. */
export interface EngineStats {
  /** Requests that hold blocks. */
  readonly running: number;
  /** Requests that wait. */
  readonly waiting: number;
  /** Blocks of the KV cache that no request uses, though they may be cached. */
  readonly kvBlocksFree: number;
  /** Blocks of the KV cache. */
  readonly kvBlocksTotal: number;
  /** Times a request lost its blocks to another and was computed again. */
  readonly preemptions: number;
  /** Tokens of prompts that were looked for in the prefix cache. */
  readonly prefixCacheQueries: number;
  /** Those among them that were found. */
  readonly prefixCacheHits: number;
  /** Prompt tokens computed, or found in the prefix cache, so far. */
  readonly promptTokens: number;
  /** Tokens generated so far. */
  readonly generationTokens: number;
  /** Steps that have retired. */
  readonly steps: number;
}

/** What an engine serves. */
export interface EngineInfo {
  /** Architecture, such as `LlamaForCausalLM`. */
  readonly architecture: string;
  /** Entries of the vocabulary. */
  readonly vocabSize: number;
  /** Positions a request may take, prompt and output together. */
  readonly maxModelLen: number;
  /** Ranks that share each layer. */
  readonly tensorParallelSize: number;
  /** Pipeline stages. */
  readonly pipelineParallelSize: number;
  /** Device, instruction set, kernels and communicator in one line each. */
  readonly backend: Readonly<Record<string, string | number>>;
}

/** The request cannot be served as asked; `param` names the field. HTTP 400. */
export class UnsupportedRequestError extends Error {
  /** Name of the offending field, or null. */
  readonly param: string | null;
  /** Names the offending field. */
  constructor(message: string, param: string | null = null) {
    super(message);
    this.name = "UnsupportedRequestError";
    this.param = param;
  }
}

/** The engine has stopped (a rank died, say); the request was lost. HTTP 503. */
export class EngineDeadError extends Error {
  /** Says what happened. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "EngineDeadError";
  }
}

/** Anything that generates: a local engine, later a remote one. The server and the router use this. */
export interface Replica extends AsyncDisposable {
  /** What it serves. */
  readonly info: EngineInfo;
  /** True until the replica has died or was disposed. */
  readonly healthy: boolean;
  /** Why it is not healthy. */
  readonly failure: string | null;
  /** Latest counters (at most a step old). */
  readonly stats: EngineStats;
  /** Streams a generation; throws UnsupportedRequestError, EngineDeadError. Ends early with finishReason `abort` on cancel. */
  generate(request: GenerateRequest): AsyncIterable<GenerationChunk>;
}

/** How a model is laid out and how much it may hold. One replica; replicas are copied by the router. */
export interface EngineOptions {
  /** Folder of a Hugging Face checkpoint. */
  readonly model: string;
  /**
   * Name of the weights in answers and metrics: 1 to 128 signs of printable ASCII without spaces. Default: a hash of
   * what the folder's files say.
   */
  readonly weightVersion?: string;
  /** Ranks that share each layer. Default 1. */
  readonly tensorParallelSize?: number;
  /** Pipeline stages. Default 1. */
  readonly pipelineParallelSize?: number;
  /** Decoder layers of each pipeline stage. Default: cut by cost. */
  readonly pipelineLayers?: readonly number[];
  /** Positions a request may take. Default: the model's own limit. */
  readonly maxModelLen?: number;
  /** Requests that run at once. Default 64 on a CPU, 256 on GPUs. */
  readonly maxNumSeqs?: number;
  /** Tokens computed in one step. Default 256 on a CPU, 8192 on GPUs. */
  readonly maxNumBatchedTokens?: number;
  /** Blocks of the KV cache; overrides `kvCacheMemory`. */
  readonly numKvBlocks?: number;
  /** Who is served first: who came first (`fcfs`, the default), or who has the lower `priority`. */
  readonly schedulingPolicy?: "fcfs" | "priority";
  /** Whether requests share the cached blocks of prompts that begin alike. Default true. */
  readonly enablePrefixCaching?: boolean;
  /** Bytes of KV cache over all ranks. Default: a quarter of the free memory; on GPUs what is left. */
  readonly kvCacheMemory?: number;
  /** Share of each GPU's memory that may be used, by other processes too. Above 0, up to 1; default 0.9. */
  readonly gpuMemoryUtilization?: number;
  /** Where to compute. Default `auto`: GPUs where they can be used, else the CPU. */
  readonly device?: "auto" | "cpu" | "cuda" | "wasm";
  /**
   * Type of the weights; `auto` is the checkpoint's own. A CPU widens to `f32` in registers; a GPU computes
   * in this type and keeps activations in it.
   */
  readonly dtype?: "auto" | "f32" | "bf16" | "f16";
  /**
   * Quantises the linear layers of a dense checkpoint while it is loaded; the output head gets 8 bits
   * either way. Activations are rounded to 8 bits too, unless `dtype` is `f32`.
   */
  readonly quantization?: "int8" | "int4";
  /**
   * How keys and values are kept. `auto` on a CPU: bf16, or f32 where products are exact (`dtype` f32 or
   * f16). GPUs keep them as they keep activations.
   */
  readonly kvCacheDtype?: "auto" | "f32" | "bf16" | "f16" | "int8";
  /** How ranks are started. Default `thread` on a CPU, `process` on GPUs. */
  readonly launcher?: "thread" | "process";
  /** Where it computes on GPUs: the first of them; each rank takes the next. Default 0. */
  readonly firstGpu?: number;
  /** On GPUs: run decode steps as they are, never recorded as CUDA graphs. Default false. */
  readonly enforceEager?: boolean;
  /** Threads of each rank. Default: cores divided by ranks; one on GPUs. */
  readonly threads?: number;
  /**
   * Where weights come from: the safetensors files of the model's folder, or `dummy`: random ones of
   * the shapes that its config.json names, to measure speed. Default `safetensors`.
   */
  readonly loadFormat?: "safetensors" | "dummy";
  /** Replicas that share this host: its cores and default KV memory are divided by it. Default 1. */
  readonly replicasOnHost?: number;
  /**
   * Where replicas of this host share the weights that a CPU packs: `WeightStore.handle`. Each packs its own
   * when left out. Not for GPUs, nor for WebAssembly.
   */
  readonly weightStore?: WeightStoreHandle;
  /** Seed of requests that bring none; random when left out. */
  readonly seed?: bigint;
  /** Called while weights load: fraction of all ranks' work, 0 to 1. */
  readonly onProgress?: (fraction: number) => void;
}
