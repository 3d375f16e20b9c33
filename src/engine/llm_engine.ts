/**
 * One replica: a model on its ranks, and requests streamed through it.
 * @module
 */
import { TextProcessor } from "../text/text_processor.ts";
import { chooseDevice } from "./device_choice.ts";
import { GenerationStream } from "./generation_stream.ts";
import { LoadedModel } from "./loaded_model.ts";
import { RequestReader } from "./request_reader.ts";
import { StatsTotals } from "./stats_totals.ts";
import type {
  EngineInfo,
  EngineOptions,
  EngineStats,
  GenerateRequest,
  GenerationChunk,
  Replica,
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
  readonly #reader: RequestReader;
  readonly #ended: StatsTotals;
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
    this.#reader = new RequestReader(text, asked.options);
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
    const models = loaded.has(current) ? [current, ...others] : others;
    return models.flatMap(({ pids }) => [...pids]);
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
  generate(request: GenerateRequest): AsyncIterableIterator<GenerationChunk, undefined> {
    return new GenerationStream(request, { sets: this.#sets, reader: this.#reader });
  }

  /** Stops the ranks; requests that still run or wait fail with EngineDeadError. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sets[Symbol.asyncDispose]();
    if (this.#ownsText) this.text?.[Symbol.dispose]();
  }
}
