/**
 * One replica: a model on its ranks, and requests streamed through it.
 * @module
 */
import { Checkpoint } from "../models/checkpoint.ts";
import { type GenerationConfig, readGenerationConfig } from "../models/generation_config.ts";
import { TextProcessor } from "../text/text_processor.ts";
import type { TextStream } from "../text/text_stream.ts";
import { describeWeights } from "./describe_weights.ts";
import { EngineClient } from "./engine_client.ts";
import { type EngineConfig, resolveEngineConfig } from "./engine_config.ts";
import { verifyMemory } from "./engine_memory.ts";
import { resolveSamplingParams, type SamplingParamsInput } from "./sampling_params.ts";
import type { SchedulerOutput } from "./scheduler/scheduler.ts";
import {
  EngineDeadError,
  type EngineInfo,
  type EngineOptions,
  type EngineStats,
  type GenerateRequest,
  type GenerationChunk,
  type Replica,
  type SamplingParams,
  UnsupportedRequestError,
} from "./types.ts";

/** Options of {@linkcode LlmEngine.load}. */
export interface LlmEngineOptions extends EngineOptions {
  /**
   * Tokenizer to share with other engines of the same model; the engine loads its own when left out.
   * Null serves token ids only.
   */
  readonly text?: TextProcessor | null;
}

/**
 * Loads a checkpoint over `tensorParallelSize * pipelineParallelSize` ranks and generates from it.
 * Scheduling and computing happen on other threads or processes; this object only passes messages.
 *
 * @example
 * ```ts no-assert
 * import { LlmEngine } from "@weft/weft";
 * await using engine = await LlmEngine.load({ model: "models/demo" });
 * const sampling = { temperature: 0, maxTokens: 20 };
 * for await (const chunk of engine.generate({ prompt: "What is 2 + 3?", sampling })) {
 *   console.log(chunk.text);
 * }
 * ```
 */
export class LlmEngine implements Replica {
  /** What the engine serves. */
  readonly info: EngineInfo;
  /** The model's tokenizer, or null. */
  readonly text: TextProcessor | null;
  /** Process ids of the ranks (launcher `process`). */
  readonly pids: readonly number[];
  readonly #client: EngineClient;
  readonly #defaults: SamplingParamsInput;
  readonly #eosTokenIds: readonly number[];
  readonly #seed: bigint | null;
  readonly #ownsText: boolean;

  private constructor(parts: {
    client: EngineClient;
    backend: EngineInfo["backend"];
    maxModelLen: number;
    config: EngineConfig;
    generation: GenerationConfig;
    text: TextProcessor | null;
    options: LlmEngineOptions;
  }) {
    const { client, backend, maxModelLen, config, generation, text, options } = parts;
    const { modelConfig } = config;
    this.#client = client;
    this.#defaults = generation.sampling;
    this.#eosTokenIds = [...new Set([...modelConfig.eosTokenIds, ...generation.eosTokenIds])];
    this.#seed = options.seed ?? null;
    this.#ownsText = options.text === undefined;
    this.text = text;
    this.pids = client.pids;
    this.info = {
      architecture: modelConfig.architecture,
      vocabSize: modelConfig.vocabSize,
      maxModelLen,
      tensorParallelSize: config.tensorParallelSize,
      pipelineParallelSize: config.pipelineParallelSize,
      backend,
    };
  }

  /**
   * Loads a model.
   *
   * @throws {ModelLoadError} when the folder's files are not a model that can be served.
   * @throws {RangeError} when the layout or an option does not fit.
   * @throws {CapacityError} when model and KV cache don't fit the memory they are to lie in.
   * @throws {LibraryError} when GPUs are asked for and a CUDA library is missing.
   * @throws {NativeError} when GPUs are asked for and there are none.
   */
  static async load(options: LlmEngineOptions): Promise<LlmEngine> {
    const config = resolveEngineConfig(options);
    verifyMemory(config);
    const generation = readGenerationConfig(config.model);
    const text = options.text === undefined ? await TextProcessor.load(config.model) : options.text;
    try {
      const weights = verifyCheckpoint(config);
      const onLoading = options.onProgress ?? (() => {});
      const { client, ready } = await EngineClient.start(config, { onLoading });
      const backend = { ...ready.backend, weights };
      const { maxModelLen } = ready;
      return new LlmEngine({ client, backend, maxModelLen, config, generation, text, options });
    } catch (error) {
      if (options.text === undefined) text?.[Symbol.dispose]();
      throw error;
    }
  }

  /** True until the engine has died or was disposed. */
  get healthy(): boolean {
    return this.#client.failure === null;
  }

  /** Why the engine is not healthy, or null. */
  get failure(): string | null {
    return this.#client.failure;
  }

  /** Latest counters (at most a step old). */
  get stats(): EngineStats {
    return this.#client.stats!;
  }

  /**
   * Streams a generation. Leaving the loop early, or aborting the request's signal, cancels it.
   *
   * @throws {UnsupportedRequestError} when the request is malformed or can never fit.
   * @throws {EngineDeadError} when the engine stops; tokens streamed before stay valid.
   */
  async *generate(request: GenerateRequest): AsyncGenerator<GenerationChunk> {
    const failure = this.#client.failure;
    if (failure) throw new EngineDeadError(`Cannot generate as the engine has stopped: ${failure}`);
    const promptTokenIds = await this.#promptTokens(request);
    const sampling = this.#resolveSampling(request, promptTokenIds.length);
    const text = this.text?.openStream({ stop: sampling.stop }) ?? null;
    const { id, outputs } = this.#client.add({
      promptTokenIds,
      sampling: { ...sampling, seed: sampling.seed ?? this.#seed ?? randomSeed() },
      eosTokenIds: this.#eosTokenIds,
    });
    let ended = false;
    const onAbort = () => {
      this.#client.abort(id);
      outputs.push({ id, tokenIds: [], finishReason: "abort", stopReason: null });
    };
    request.signal?.addEventListener("abort", onAbort, { once: true });
    if (request.signal?.aborted) onAbort();
    try {
      while (!ended) {
        const output = await outputs.next();
        const chunk = text ? await withText(output, text) : { ...output, text: "" };
        ended = output.finishReason !== null && output.finishReason !== "abort";
        yield chunk;
        if (chunk.finishReason !== null) return;
      }
    } finally {
      request.signal?.removeEventListener("abort", onAbort);
      if (!ended) this.#client.abort(id);
      this.#client.release(id);
      text?.close();
    }
  }

  async #promptTokens(request: GenerateRequest): Promise<readonly number[]> {
    const { prompt, promptTokenIds } = request;
    if ((prompt === undefined) === (promptTokenIds === undefined)) {
      throw new UnsupportedRequestError(
        "Cannot generate as exactly one of prompt and promptTokenIds is needed",
        "prompt",
      );
    }
    if (promptTokenIds) return promptTokenIds;
    if (!this.text) {
      throw new UnsupportedRequestError(
        "Cannot read a text prompt as the model folder has no tokenizer: give token ids",
        "prompt",
      );
    }
    return await this.text.encode(prompt!);
  }

  #resolveSampling(request: GenerateRequest, promptLength: number): SamplingParams {
    const sampling = resolveSamplingParams(request.sampling ?? {}, {
      defaults: this.#defaults,
      vocabSize: this.info.vocabSize,
      maxModelLen: this.info.maxModelLen,
      promptLength,
    });
    if (sampling.stop.length > 0 && !this.text) {
      throw new UnsupportedRequestError(
        "Cannot look for stop texts as the model folder has no tokenizer: give stopTokenIds",
        "stop",
      );
    }
    return sampling;
  }

  /** Stops the ranks; requests that still run fail with EngineDeadError. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
    if (this.#ownsText) this.text?.[Symbol.dispose]();
  }
}

/** Adds the text of new tokens; a stop text among it ends the request and cuts text and tokens. */
async function withText(output: SchedulerOutput, stream: TextStream): Promise<GenerationChunk> {
  const { tokenIds, finishReason } = output;
  // The token that ended the generation is no part of the text.
  const shown = finishReason === "stop" ? tokenIds.slice(0, -1) : tokenIds;
  const { text, stop } = await stream.push(shown, finishReason !== null);
  if (!stop) return { ...output, text };
  return {
    ...output,
    text,
    tokenIds: tokenIds.slice(0, stop.tokens),
    logprobs: output.logprobs?.slice(0, stop.tokens),
    finishReason: "stop",
    stopReason: stop.stop,
  };
}

/**
 * Refuses a checkpoint that is not what its config says, before anything large is allocated, and says
 * how its weights are stored and used.
 */
function verifyCheckpoint(config: EngineConfig): string {
  const { model, modelConfig, loadFormat } = config;
  if (loadFormat === "dummy") {
    return `${describeWeights(config, modelConfig.dtype)}, random: output means nothing`;
  }
  using checkpoint = Checkpoint.open(model, modelConfig);
  checkpoint.verify(modelConfig);
  return describeWeights(config, checkpoint.dtype ?? modelConfig.dtype);
}

function randomSeed(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0];
}
