/**
 * One set of weights on ranks of its own.
 * @module
 */
import type { SetLease } from "./admission.ts";
import { EngineClient } from "./engine_client.ts";
import { ModelRequest } from "./model_request.ts";
import { OutputStream } from "./output_stream.ts";
import { resolveSamplingParams, type SamplingParamsInput } from "./sampling_params.ts";
import type { SchedulerOutput } from "./scheduler/scheduler.ts";
import type { EngineInfo, EngineStats, SamplingParams } from "./types.ts";
import type { WeightSet } from "./weight_set.ts";
import { type LoadedWeights, WeightsError } from "./weights.ts";
import type { WeightsPlan } from "./weights_plan.ts";

/** A request of token ids with all that is to be known. */
export interface ModelRequestInput {
  /** Tokens of the prompt. */
  readonly promptTokenIds: readonly number[];
  /** Complete parameters. */
  readonly sampling: SamplingParams;
  /** Tokens of `sampling.badWords`. */
  readonly badWords?: readonly (readonly number[])[];
  /** See {@linkcode GenerateRequest.choice}. */
  readonly choice?: number;
  /** See {@linkcode GenerateRequest.priority}. */
  readonly priority?: number;
  /** See {@linkcode GenerateRequest.cacheSalt}. */
  readonly cacheSalt?: string;
  /** See {@linkcode GenerateRequest.cachePrompt}. */
  readonly cachePrompt?: boolean;
}

/** Weights that answer requests: an engine thread with its scheduler and cache, and its ranks. */
export class LoadedModel implements WeightSet {
  /** See {@linkcode WeightSet.weights}. */
  readonly weights: LoadedWeights;
  /** What was loaded, the number of its blocks settled. */
  readonly plan: WeightsPlan;
  /** What it serves. */
  readonly info: EngineInfo;
  readonly #client: EngineClient;
  readonly #eosTokenIds: readonly number[];
  #disposed: Promise<void> | null = null;

  private constructor(
    plan: WeightsPlan,
    { client, info }: { readonly client: EngineClient; readonly info: EngineInfo },
  ) {
    const { config, version, generation } = plan;
    this.weights = { version, model: config.model };
    this.plan = { ...plan, config: { ...config, numBlocks: client.stats.kvBlocksTotal } };
    this.info = info;
    this.#client = client;
    this.#eosTokenIds = [
      ...new Set([...config.modelConfig.eosTokenIds, ...generation.eosTokenIds]),
    ];
  }

  /** Starts the ranks and loads; rejects with the reason when they cannot, or `signal` fires before. */
  static async load(
    plan: WeightsPlan,
    { onLoading = () => {}, signal }: {
      readonly onLoading?: (fraction: number) => void;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<LoadedModel> {
    const { config, description } = plan;
    const { client, ready } = await EngineClient.start(config, { onLoading, signal });
    const info: EngineInfo = {
      architecture: config.modelConfig.architecture,
      vocabSize: config.modelConfig.vocabSize,
      maxModelLen: ready.maxModelLen,
      tensorParallelSize: config.tensorParallelSize,
      pipelineParallelSize: config.pipelineParallelSize,
      backend: { ...ready.backend, weights: description },
    };
    return new LoadedModel(plan, { client, info });
  }

  /** See {@linkcode WeightSet.failure}. */
  get failure(): string | null {
    return this.#client.failure;
  }

  /** See {@linkcode WeightSet.died}. */
  get died(): Promise<string> {
    return this.#client.died;
  }

  /** Process ids of the ranks (launcher `process`). */
  get pids(): readonly number[] {
    return this.#client.pids;
  }

  /** Latest counters (at most a step old). */
  get stats(): EngineStats {
    return this.#client.stats;
  }

  /** Completes sampling parameters with the makers' advice; throws UnsupportedRequestError. */
  resolveSampling(input: SamplingParamsInput, promptLength: number): SamplingParams {
    return resolveSamplingParams(input, {
      defaults: this.plan.generation.sampling,
      vocabSize: this.info.vocabSize,
      maxModelLen: this.info.maxModelLen,
      promptLength,
    });
  }

  /** Starts a request, which `lease` has let in; see {@linkcode ModelRequest} for `onChange`. Throws EngineDeadError. */
  start(
    input: ModelRequestInput,
    { lease, onChange }: {
      readonly lease: SetLease<LoadedModel>;
      readonly onChange: () => void;
    },
  ): ModelRequest {
    return new ModelRequest(this.#client, { request: this.#complete(input), lease, onChange });
  }

  /** See {@linkcode WeightSet.hold}. */
  hold(): Promise<void> {
    return this.#client.hold();
  }

  /** See {@linkcode WeightSet.go}. */
  go(): void {
    this.#client.go();
  }

  /** See {@linkcode WeightSet.check}; throws UnsupportedRequestError for a prompt that can't be served. */
  async check(
    prompts: readonly (readonly number[])[],
    maxTokens: number,
  ): Promise<readonly (readonly number[])[]> {
    return await Promise.all(prompts.map((prompt) => this.#checkPrompt(prompt, maxTokens)));
  }

  async #checkPrompt(promptTokenIds: readonly number[], maxTokens: number): Promise<number[]> {
    const input = { temperature: 0, maxTokens, logprobs: 0, promptLogprobs: 0 };
    const sampling = this.resolveSampling(input, promptTokenIds.length);
    const outputs = new OutputStream<SchedulerOutput>();
    const id = this.#client.add(this.#complete({ promptTokenIds, sampling }), outputs);
    const tokenIds: number[] = [];
    try {
      for (;;) {
        const output = await outputs.next();
        this.#verifyFinite(output);
        tokenIds.push(...output.tokenIds);
        if (output.finishReason !== null) return tokenIds;
      }
    } finally {
      this.#client.abort(id); // does nothing to one that has ended
      this.#client.release(id);
    }
  }

  #verifyFinite({ promptLogprobs = [], logprobs = [] }: SchedulerOutput): void {
    const bad = [...promptLogprobs, ...logprobs].find((entry) =>
      entry !== null && !Number.isFinite(entry.logprob)
    );
    if (!bad) return;
    throw new WeightsError(
      `Cannot use weights of version ${this.weights.version} as a log-probability that they give is not ` +
        `finite: ${bad.logprob} of token ${bad.tokenId}`,
      { reason: "invalid" },
    );
  }

  #complete({ sampling, ...request }: ModelRequestInput) {
    const seed = sampling.seed ?? randomSeed();
    return { ...request, sampling: { ...sampling, seed }, eosTokenIds: this.#eosTokenIds };
  }

  /** Stops the ranks; requests that still run fail with EngineDeadError. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#disposed ??= this.#client[Symbol.asyncDispose]();
  }
}

function randomSeed(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0];
}
