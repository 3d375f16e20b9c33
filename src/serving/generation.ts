/**
 * The running generations of one HTTP request.
 * @module
 */
import { EngineDeadError, type GenerationChunk, type SamplingParams } from "../engine/types.ts";
import { ApiError } from "./api_error.ts";
import { GenerationWatch } from "./generation_watch.ts";
import { mergeStreams } from "./merge_streams.ts";
import type { Prompt } from "./prompts.ts";
import type { Dispatch } from "./replica_router.ts";
import { RequestDeadline } from "./request_deadline.ts";
import type { RequestOptions } from "./request_options.ts";
import type { Usage } from "./schema/answer_parts.ts";
import type { ServerContext } from "./server_context.ts";

/** Options of {@linkcode Generation}. */
export interface GenerationOptions {
  /** What is continued. */
  readonly prompts: readonly Prompt[];
  /** Generations of each prompt. */
  readonly choices: number;
  /** The same for all of them. */
  readonly sampling: Partial<SamplingParams>;
  /** How the engine treats them besides. */
  readonly options: RequestOptions;
  /** Names what belongs together, for the router; null for nothing. */
  readonly session: string | null;
  /** Fires when the client has gone. */
  readonly signal: AbortSignal;
  /** When the request arrived (`performance.now()`). */
  readonly arrival: number;
  /** How long after that the first step may come, in milliseconds; null for no limit. */
  readonly timeoutMs: number | null;
}

/** A step of one of the generations. */
export interface GenerationEvent {
  /** Number of the generation: those of the first prompt come first. */
  readonly choice: number;
  /** What the step gave. */
  readonly chunk: GenerationChunk;
}

/**
 * The generations of one HTTP request, `choices` per prompt, dispatched by the constructor. Disposing cancels what
 * still runs, and so does the client's going and the end of the server's drain.
 */
export class Generation implements Disposable {
  readonly #context: ServerContext;
  readonly #options: GenerationOptions;
  readonly #cancel = new AbortController();
  readonly #dispatches: Dispatch[] = [];
  readonly #watches: readonly GenerationWatch[];
  readonly #deadline: RequestDeadline;
  readonly #onAbort = (): void => this.#cancel.abort();
  readonly #steps: AsyncGenerator<GenerationEvent, void>;
  #first: Promise<IteratorResult<GenerationEvent, void>> | null = null;
  #completionTokens = 0;
  #cachedTokens = 0;

  /** Throws UnsupportedRequestError or EngineDeadError when an engine refuses at once. */
  constructor(context: ServerContext, options: GenerationOptions) {
    this.#context = context;
    this.#options = options;
    for (const signal of this.#signals()) {
      if (signal.aborted) this.#cancel.abort();
      signal.addEventListener("abort", this.#onAbort, { once: true });
    }
    const { arrival, timeoutMs, prompts, choices, sampling: { maxTokens = null } } = options;
    this.#deadline = new RequestDeadline(timeoutMs, { arrival, end: this.#onAbort });
    this.#watches = prompts.flatMap(({ tokenIds: { length: promptTokens } }) =>
      Array.from(
        { length: choices },
        () => new GenerationWatch(context.metrics, { arrival, promptTokens, maxTokens }),
      )
    );
    const answer = {};
    try {
      for (const { tokenIds } of prompts) {
        for (let choice = 0; choice < choices; choice++) {
          const request = {
            promptTokenIds: tokenIds,
            answer,
            choice,
            sampling: options.sampling,
            ...options.options,
            session: options.session ?? undefined,
            signal: this.#cancel.signal,
          };
          this.#dispatches.push(context.router.dispatch(request));
        }
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    this.#steps = this.#merge();
  }

  /**
   * Starts generating; resolves with the first step, with the version of the weights that answer. What is thrown
   * until then is thrown here, while it can still be answered by a status, and a router can still ask another
   * replica; later errors come from {@linkcode events}.
   */
  async begin(): Promise<string> {
    const { done, value } = await (this.#first ??= this.#steps.next());
    if (done) throw new EngineDeadError("Cannot answer as no engine has generated anything");
    return value.chunk.weightVersion;
  }

  /** Tokens used so far. */
  get usage(): Usage {
    const promptTokens = this.#options.prompts
      .reduce((total, { tokenIds }) => total + tokenIds.length, 0);
    return {
      prompt_tokens: promptTokens,
      completion_tokens: this.#completionTokens,
      total_tokens: promptTokens + this.#completionTokens,
      prompt_tokens_details: { cached_tokens: this.#cachedTokens },
    };
  }

  /** The steps of all generations as they arrive; to be iterated once. */
  async *events(): AsyncGenerator<GenerationEvent, void> {
    const first = await this.#first;
    if (first?.done) return;
    if (first) yield first.value;
    yield* this.#steps;
  }

  /** Cancels what still runs. */
  [Symbol.dispose](): void {
    for (const signal of this.#signals()) signal.removeEventListener("abort", this.#onAbort);
    this.#deadline[Symbol.dispose]();
    this.#cancel.abort();
    // One that was never iterated must not count as active in the router.
    for (const dispatch of this.#dispatches) dispatch.return?.().catch(() => {});
  }

  #signals(): readonly AbortSignal[] {
    return [this.#options.signal, this.#context.gate.signal];
  }

  async *#merge(): AsyncGenerator<GenerationEvent, void> {
    let version: string | null = null;
    for await (
      const [choice, chunk] of mergeStreams(this.#dispatches.map((d, i) => this.#observe(d, i)))
    ) {
      this.#completionTokens += chunk.tokenIds.length;
      // A prompt counts once: its other choices find what the first has computed.
      if (choice % this.#options.choices === 0) this.#cachedTokens += chunk.cachedTokens ?? 0;
      if (chunk.finishReason === "abort") {
        throw this.#deadline.error ??
          new ApiError("Cannot finish the generation as it was cancelled", {
            status: 503,
            code: "cancelled",
          });
      }
      this.#deadline[Symbol.dispose]();
      version ??= chunk.weightVersion;
      if (chunk.weightVersion !== version) throw mixedWeights(version, chunk.weightVersion);
      yield { choice, chunk };
    }
    const [{ engine }] = this.#dispatches;
    const { metrics } = this.#context;
    const longest = Math.max(...this.#watches.map(({ tokens }) => tokens));
    metrics.observe("request_params_n", engine, this.#options.choices);
    metrics.observe("request_max_num_generation_tokens", engine, longest);
  }

  async *#observe(dispatch: Dispatch, number: number): AsyncGenerator<GenerationChunk, void> {
    const watch = this.#watches[number];
    let ended = false;
    for await (const chunk of dispatch) {
      watch.see(dispatch.engine, chunk);
      ended ||= chunk.finishReason !== null;
      yield chunk;
    }
    // An answer that merely stops must never look complete.
    if (!ended) throw new EngineDeadError("Cannot finish the generation as the engine fell silent");
  }
}

/** Choices that began on two sides of an update: no answer may come from two sets of weights. */
function mixedWeights(one: string, other: string): ApiError {
  return new ApiError(
    `Cannot finish the answer as its choices come from different weights: ${one} and ${other}`,
    { status: 503, code: "weights_changed", headers: { "retry-after": "1" } },
  );
}
