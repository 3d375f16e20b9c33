/**
 * One replica: a model on its ranks, and requests streamed through it.
 * @module
 */
import { TextProcessor } from "../text/text_processor.ts";
import type { TextStream } from "../text/text_stream.ts";
import type { SetLease } from "./admission.ts";
import { chooseDevice } from "./device_choice.ts";
import { LoadedModel } from "./loaded_model.ts";
import type { SchedulerOutput } from "./scheduler/scheduler.ts";
import { StatsTotals } from "./stats_totals.ts";
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
import { WeightSets } from "./weight_sets.ts";
import type {
  LoadedWeights,
  PauseMode,
  UpdatableWeights,
  WeightsFolder,
  WeightsStatus,
} from "./weights.ts";
import {
  type EngineAsked,
  explainWeightsError,
  planOtherWeights,
  planWeights,
  verifyUnchanged,
  type WeightsPlan,
} from "./weights_plan.ts";

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
 * Its weights can change while it serves; a generation comes from one version of them only.
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
export class LlmEngine implements Replica, UpdatableWeights {
  /** What the engine serves. Weights that come later have the same architecture; the rest tells of the first. */
  readonly info: EngineInfo;
  /** The model's tokenizer, or null. */
  readonly text: TextProcessor | null;
  readonly #sets: WeightSets<LoadedModel, WeightsPlan>;
  readonly #ended: StatsTotals;
  readonly #seed: bigint | null;
  readonly #ownsText: boolean;

  private constructor(
    first: LoadedModel,
    { asked, text, ownsText }: {
      readonly asked: EngineAsked;
      readonly text: TextProcessor | null;
      readonly ownsText: boolean;
    },
  ) {
    this.info = first.info;
    this.text = text;
    this.#ownsText = ownsText;
    this.#seed = asked.options.seed ?? null;
    this.#ended = new StatsTotals();
    this.#sets = new WeightSets(first, {
      loader: {
        verify: (source, { present, beside, signal }) =>
          planOtherWeights(source, {
            asked,
            present: present.plan,
            beside: beside.map(({ plan }) => plan),
            signal,
          }),
        verifyUnchanged: ({ plan }) => verifyUnchanged(plan),
        load: (plan, signal) => LoadedModel.load(plan, { signal }),
        reload: ({ plan }, signal) => {
          verifyUnchanged(plan);
          return LoadedModel.load(plan, { signal });
        },
        explain: explainWeightsError,
      },
      onRetire: (model) => this.#ended.add(model.stats),
    });
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
    const asked = { options, choice: chooseDevice(options.device ?? "auto") };
    const plan = planWeights(asked);
    const ownsText = options.text === undefined;
    const text = ownsText ? await TextProcessor.load(options.model) : options.text ?? null;
    try {
      const first = await LoadedModel.load(plan, { onLoading: options.onProgress });
      return new LlmEngine(first, { asked, text, ownsText });
    } catch (error) {
      if (ownsText) text?.[Symbol.dispose]();
      throw error;
    }
  }

  /** True until the engine has died or was disposed. */
  get healthy(): boolean {
    return this.#sets.failure === null;
  }

  /** Why the engine is not healthy, or null. */
  get failure(): string | null {
    return this.#sets.failure;
  }

  /** Process ids of the ranks (launcher `process`), those of the current weights first. */
  get pids(): readonly number[] {
    const { current, loaded } = this.#sets;
    const others = [...loaded].filter((model) => model !== current);
    return [...loaded].filter((model) => model === current).concat(others)
      .flatMap((model) => [...model.pids]);
  }

  /** Latest counters (at most a step old): of all weights, but the blocks, which are the current ones'. */
  get stats(): EngineStats {
    const { current, loaded, gate } = this.#sets;
    const live = [...loaded].map((model) => model.stats);
    return this.#ended.with(live, { blocks: current.stats, waiting: gate.admission.waiting });
  }

  /** See {@linkcode UpdatableWeights.weights}. */
  get weights(): WeightsStatus {
    return this.#sets.status;
  }

  /** See {@linkcode UpdatableWeights.pause}. */
  async pause(mode: PauseMode): Promise<void> {
    this.#sets.verifyAlive("pause");
    await this.#sets.gate.pause(mode);
  }

  /** See {@linkcode UpdatableWeights.resume}. */
  resume(): void {
    this.#sets.gate.resume();
  }

  /** See {@linkcode UpdatableWeights.prepareWeights}. */
  prepareWeights(source: WeightsFolder): Promise<LoadedWeights> {
    return this.#sets.prepare(source);
  }

  /** See {@linkcode UpdatableWeights.activateWeights}. */
  activateWeights(): LoadedWeights {
    return this.#sets.activate();
  }

  /** See {@linkcode UpdatableWeights.revertWeights}. */
  revertWeights(): LoadedWeights {
    return this.#sets.revert();
  }

  /** See {@linkcode UpdatableWeights.releaseWeights}. */
  releaseWeights(): Promise<void> {
    return this.#sets.release();
  }

  /** See {@linkcode UpdatableWeights.updateWeights}. */
  updateWeights(source: WeightsFolder): Promise<LoadedWeights> {
    return this.#sets.update(source);
  }

  /** See {@linkcode UpdatableWeights.checkWeights}. */
  checkWeights(
    set: "current" | "prepared",
    prompts: readonly (readonly number[])[],
    maxTokens: number,
  ): Promise<readonly (readonly number[])[]> {
    return this.#sets.check(set, { prompts, maxTokens });
  }

  /**
   * Streams a generation; while the engine is paused it waits. Leaving the loop early, or aborting the
   * request's signal, cancels it.
   *
   * @throws {UnsupportedRequestError} when the request is malformed or can never fit.
   * @throws {EngineDeadError} when the engine stops; tokens streamed before stay valid.
   */
  async *generate(request: GenerateRequest): AsyncGenerator<GenerationChunk> {
    const failure = this.#sets.failure;
    if (failure) throw new EngineDeadError(`Cannot generate as the engine has stopped: ${failure}`);
    const promptTokenIds = await this.#promptTokens(request);
    // Refused at once when it is malformed, even where it has to wait.
    this.#resolveSampling(request, this.#sets.current, promptTokenIds);
    for (let ended = false; !ended;) {
      const lease = await this.#sets.gate.admission.enter(request);
      if (lease === null) {
        yield { ...ABORTED, weightVersion: this.#sets.current.weights.version };
        return;
      }
      try {
        ended = yield* this.#generateOn(lease, { request, promptTokenIds });
      } finally {
        lease.end();
      }
    }
  }

  /** Streams what one set of weights answers; returns false, with nothing given out, when another has to. */
  async *#generateOn(
    lease: SetLease<LoadedModel>,
    { request, promptTokenIds }: {
      readonly request: GenerateRequest;
      readonly promptTokenIds: readonly number[];
    },
  ): AsyncGenerator<GenerationChunk, boolean> {
    if (lease.moved) return false;
    const { set: model } = lease;
    const weightVersion = model.weights.version;
    const sampling = this.#resolveSampling(request, model, promptTokenIds);
    const { cacheSalt, cachePrompt } = request;
    const input = { promptTokenIds, sampling, cacheSalt, cachePrompt };
    using running = model.start(input, lease);
    const onAbort = () => lease.stop("abort");
    request.signal?.addEventListener("abort", onAbort, { once: true });
    if (request.signal?.aborted) onAbort();
    const text = this.text?.openStream({ stop: sampling.stop }) ?? null;
    try {
      for (;;) {
        const output = await running.next();
        if (output === null) return false;
        const chunk = text ? await withText(output, text) : { ...output, text: "" };
        yield { ...chunk, weightVersion };
        if (chunk.finishReason !== null) return true;
      }
    } finally {
      request.signal?.removeEventListener("abort", onAbort);
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

  #resolveSampling(
    request: GenerateRequest,
    model: LoadedModel,
    promptTokenIds: readonly number[],
  ): SamplingParams {
    const sampling = model.resolveSampling(request.sampling ?? {}, promptTokenIds.length);
    if (sampling.stop.length > 0 && !this.text) {
      throw new UnsupportedRequestError(
        "Cannot look for stop texts as the model folder has no tokenizer: give stopTokenIds",
        "stop",
      );
    }
    return { ...sampling, seed: sampling.seed ?? this.#seed };
  }

  /** Stops the ranks; requests that still run or wait fail with EngineDeadError. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sets[Symbol.asyncDispose]();
    if (this.#ownsText) this.text?.[Symbol.dispose]();
  }
}

const ABORTED: Omit<GenerationChunk, "weightVersion"> = Object.freeze({
  tokenIds: [],
  text: "",
  finishReason: "abort",
  stopReason: null,
});

/** Adds the text of new tokens; a stop text among it ends the request and cuts text and tokens. */
async function withText(
  output: SchedulerOutput,
  stream: TextStream,
): Promise<Omit<GenerationChunk, "weightVersion">> {
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
