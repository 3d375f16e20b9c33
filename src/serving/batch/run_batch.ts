/**
 * Data-parallel inference over a dataset of requests.
 * @module
 */
import {
  EngineDeadError,
  type FinishReason,
  type GenerateRequest,
  type GenerationChunk,
  type Replica,
  type TokenLogprob,
  UnsupportedRequestError,
} from "../../engine/types.ts";
import { ReplicaRouter } from "../replica_router.ts";
import { mapInWindow, type ResultOrder } from "./map_in_window.ts";

/** Options of {@linkcode runBatch}. */
export interface RunBatchOptions {
  /** `input` (the default): results in the order of the requests; `completion`: as they are ready. */
  readonly order?: ResultOrder;
  /** Requests under way at once in each replica. Default 64. */
  readonly concurrency?: number;
  /** Results that may wait for an earlier one, in the order of the input. Default 1024. */
  readonly maxHeld?: number;
  /** Times that a request is run again after its replica died. Default 3. */
  readonly retries?: number;
  /** Ends the batch: requests under way are cancelled, and the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called after each request has ended. */
  readonly onProgress?: (progress: BatchProgress) => void;
}

/** How far a batch is. */
export interface BatchProgress {
  /** Requests that have ended, failed ones among them. */
  readonly done: number;
  /** Requests that have failed. */
  readonly failed: number;
  /** Tokens that were generated for those that have not. */
  readonly generationTokens: number;
}

/** What became of one request. */
export type BatchResult = BatchGeneration | BatchFailure;

/** A whole generation. */
export interface BatchGeneration {
  /** Number of the request in the input, from 0. */
  readonly index: number;
  /** What was asked. */
  readonly request: GenerateRequest;
  /** Null: it has not failed. */
  readonly error: null;
  /** Token ids. */
  readonly tokenIds: readonly number[];
  /** Text; empty without a tokenizer. */
  readonly text: string;
  /** One entry a token, when asked for. */
  readonly logprobs?: readonly TokenLogprob[];
  /** One entry a prompt token, the first null, when asked for. */
  readonly promptLogprobs?: readonly (TokenLogprob | null)[];
  /** Why it ended. */
  readonly finishReason: FinishReason;
  /** The stop text or token that ended it. */
  readonly stopReason: string | number | null;
  /** Version of the weights that it comes from. */
  readonly weightVersion: string;
}

/** A request that failed for itself. */
export interface BatchFailure {
  /** Number of the request in the input, from 0. */
  readonly index: number;
  /** What was asked. */
  readonly request: GenerateRequest;
  /** Why it failed. */
  readonly error: Error;
}

/**
 * Runs a dataset of requests over replicas, each of which gets its next request when it has room: nothing is
 * split beforehand, so that all are busy to the end. The input is read as it is needed, and may be larger than
 * memory in either order.
 *
 * A request that fails for itself gives a {@linkcode BatchFailure}; one whose replica dies runs again on another.
 * Throws EngineDeadError when no replica is left, RangeError when an option is out of range, what the input
 * throws, and the signal's reason.
 *
 * @example
 * ```ts
 * import { runBatch } from "@weft/weft/server";
 * import { LlmEngine } from "@weft/weft";
 * const engines = await Promise.all([1, 2].map(() => LlmEngine.load({ model: "models/demo" })));
 * const requests = ["What is a rank?", "What is the KV cache?"].map((prompt) => ({ prompt }));
 * for await (const result of runBatch(engines, requests)) {
 *   console.log(result.index, result.error ?? result.text);
 * }
 * ```
 */
export async function* runBatch(
  replicas: Replica | readonly Replica[],
  requests: AsyncIterable<GenerateRequest> | Iterable<GenerateRequest>,
  options: RunBatchOptions = {},
): AsyncGenerator<BatchResult, void, void> {
  const router = replicas instanceof ReplicaRouter
    ? replicas
    : new ReplicaRouter(isList(replicas) ? replicas : [replicas]);
  const { order = "input", signal, onProgress } = options;
  const retries = count("retries", options.retries ?? 3, 0);
  const concurrency = router.replicas.length * count("concurrency", options.concurrency ?? 64, 1);
  const window = concurrency + count("maxHeld", options.maxHeld ?? 1024, 0);
  let [done, failed, generationTokens] = [0, 0, 0];
  const work = async (
    request: GenerateRequest,
    { index, signal }: { readonly index: number; readonly signal: AbortSignal },
  ): Promise<BatchResult> => {
    const result = await generateWhole(router, request, { index, signal, retries });
    done++;
    if (result.error !== null) failed++;
    else generationTokens += result.tokenIds.length;
    onProgress?.({ done, failed, generationTokens });
    return result;
  };
  yield* mapInWindow(requests, work, { concurrency, window, order, signal });
}

interface WholeOptions {
  readonly index: number;
  readonly signal: AbortSignal;
  readonly retries: number;
}

async function generateWhole(
  router: ReplicaRouter,
  request: GenerateRequest,
  { index, signal, retries }: WholeOptions,
): Promise<BatchResult> {
  const own = request.signal;
  const cancel = own === undefined ? signal : AbortSignal.any([signal, own]);
  for (let attempt = 0;; attempt++) {
    try {
      const generation = await collect(router.generate({ ...request, signal: cancel }));
      signal.throwIfAborted();
      return { index, request, error: null, ...generation };
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof EngineDeadError) {
        if (!router.healthy) throw error;
        // Nobody has seen anything of the answer: unlike a stream, it may begin again.
        if (attempt < retries && !own?.aborted) continue;
      } else if (!(error instanceof UnsupportedRequestError)) {
        throw error;
      }
      return { index, request, error };
    }
  }
}

async function collect(
  chunks: AsyncIterable<GenerationChunk>,
): Promise<Omit<BatchGeneration, "index" | "request" | "error">> {
  const tokenIds: number[] = [];
  const texts: string[] = [];
  let logprobs: TokenLogprob[] | undefined;
  let promptLogprobs: readonly (TokenLogprob | null)[] | undefined;
  let last: GenerationChunk | null = null;
  for await (const chunk of chunks) {
    tokenIds.push(...chunk.tokenIds);
    texts.push(chunk.text);
    if (chunk.logprobs !== undefined) (logprobs ??= []).push(...chunk.logprobs);
    promptLogprobs ??= chunk.promptLogprobs;
    last = chunk;
  }
  if (last === null || last.finishReason === null) {
    throw new EngineDeadError("Cannot finish the generation as the engine fell silent");
  }
  const { finishReason, stopReason, weightVersion } = last;
  return {
    tokenIds,
    text: texts.join(""),
    ...(logprobs === undefined ? {} : { logprobs }),
    ...(promptLogprobs === undefined ? {} : { promptLogprobs }),
    finishReason,
    stopReason,
    weightVersion,
  };
}

function isList(replicas: Replica | readonly Replica[]): replicas is readonly Replica[] {
  return Array.isArray(replicas);
}

function count(name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new RangeError(`Cannot run the batch as ${name} is not a count from ${least}: ${value}`);
}
