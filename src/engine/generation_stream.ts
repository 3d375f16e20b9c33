/**
 * The chunks of one generation, as the user of an engine reads them.
 * @module
 */
import type { TextStream } from "../text/text_stream.ts";
import type { SetLease } from "./admission.ts";
import type { LoadedModel } from "./loaded_model.ts";
import type { ModelRequest } from "./model_request.ts";
import { Queue } from "./queue.ts";
import type { Mutable } from "./reused.ts";
import type { RequestReader } from "./request_reader.ts";
import type { SchedulerOutput } from "./scheduler/scheduler.ts";
import { EngineDeadError, type GenerateRequest, type GenerationChunk } from "./types.ts";
import type { WeightSets } from "./weight_sets.ts";

/** What the generations of an engine share. */
export interface GenerationContext {
  /** The weights, and the gate before them. */
  readonly sets: WeightSets<LoadedModel, unknown>;
  /** Reads requests. */
  readonly reader: RequestReader;
}

type Step = IteratorResult<GenerationChunk, undefined>;

/**
 * A generation: it begins with the first call of `next`, and `return` ends it at once, whatever it waits for.
 * Not an async generator, which would make several promises a chunk, and would let `return` wait for `next`.
 */
export class GenerationStream implements AsyncIterableIterator<GenerationChunk, undefined> {
  readonly #request: GenerateRequest;
  readonly #sets: WeightSets<LoadedModel, unknown>;
  readonly #reader: RequestReader;
  readonly #leave = new AbortController();
  readonly #onAbort = (): void => this.#abort();
  readonly #answerCalls = (): void => this.#answer();
  /** Calls of `next` that have no answer yet, the oldest first. */
  readonly #calls = new Queue<PromiseWithResolvers<Step>>();
  #promptTokenIds: readonly number[] | null = null;
  #badWords: readonly (readonly number[])[] = [];
  #priority = 0;
  #lease: SetLease<LoadedModel> | null = null;
  #running: ModelRequest | null = null;
  #text: TextStream | null = null;
  /** Whether the text has that of the token that ended the generation. */
  #includesStop = false;
  /** Whether the oldest call waits for something else than an output. */
  #busy = false;
  #ended = false;

  /** A generation that has not begun. */
  constructor(request: GenerateRequest, { sets, reader }: GenerationContext) {
    this.#request = request;
    this.#sets = sets;
    this.#reader = reader;
  }

  /** The next chunk. Calls may overlap; they are answered in order. */
  next(): Promise<Step> {
    const call = Promise.withResolvers<Step>();
    this.#calls.push(call);
    this.#answer();
    return call.promise;
  }

  /** Cancels what still runs or waits; calls of `next` under way find the end. */
  return(): Promise<Step> {
    this.#end();
    this.#answer();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  #answer(): void {
    while (this.#calls.size > 0 && (!this.#busy || this.#ended)) {
      if (this.#ended) {
        this.#calls.shift()!.resolve({ done: true, value: undefined });
      } else if (this.#running === null) {
        this.#begin();
      } else if (this.#lease!.moved) {
        this.#leaveSet();
      } else {
        const output = this.#running.take();
        if (output !== null) this.#deliver(output);
        else if (this.#running.failure !== null) this.#fail(this.#running.failure);
        else return;
      }
    }
  }

  /** Starts on a set of weights, as soon as one may be used. */
  async #begin(): Promise<void> {
    this.#busy = true;
    try {
      this.#promptTokenIds ??= await this.#readPrompt();
      if (this.#ended) return;
      const { answer } = this.#request;
      const lease = await this.#sets.gate.admission.enter({ signal: this.#leave.signal, answer });
      if (lease === null) return this.#give({ ...ABORTED, weightVersion: this.#version });
      this.#lease = lease;
      if (this.#leave.signal.aborted) lease.stop("abort"); // between that moment and this one
      if (this.#ended || lease.moved) return this.#leaveSet();
      this.#run(lease, this.#promptTokenIds);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#busy = false;
      this.#answer();
    }
  }

  async #readPrompt(): Promise<readonly number[]> {
    const { failure, current: model } = this.#sets;
    if (failure) throw new EngineDeadError(`Cannot generate as the engine has stopped: ${failure}`);
    const { signal } = this.#request;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (signal?.aborted) this.#abort();
    const promptTokenIds = await this.#reader.readPrompt(this.#request);
    // Refused at once when it is malformed, even where it has to wait.
    const promptLength = promptTokenIds.length;
    const sampling = this.#reader.resolveSampling(this.#request, { model, promptLength });
    if (sampling.badWords.length > 0) this.#badWords = await this.#reader.readBadWords(sampling);
    this.#priority = this.#reader.readPriority(this.#request);
    return promptTokenIds;
  }

  #run(lease: SetLease<LoadedModel>, promptTokenIds: readonly number[]): void {
    const { set: model } = lease;
    const promptLength = promptTokenIds.length;
    const sampling = this.#reader.resolveSampling(this.#request, { model, promptLength });
    const { choice, cacheSalt, cachePrompt } = this.#request;
    const [badWords, priority] = [this.#badWords, this.#priority];
    const input = { promptTokenIds, sampling, choice, badWords, priority, cacheSalt, cachePrompt };
    this.#running = model.start(input, { lease, onChange: this.#answerCalls });
    const { stop, minTokens, skipSpecialTokens, includeStopStrInOutput: includeStop } = sampling;
    const options = { stop, minTokens, skipSpecialTokens, includeStop };
    this.#text = this.#reader.text?.openStream(options) ?? null;
    this.#includesStop = includeStop;
  }

  #deliver(output: SchedulerOutput): void {
    if (this.#text === null) this.#give(chunkOf(output, "", this.#version));
    else this.#deliverText(output, this.#text);
  }

  async #deliverText(output: SchedulerOutput, text: TextStream): Promise<void> {
    this.#busy = true;
    try {
      this.#give(
        await withText(output, text, {
          includesStop: this.#includesStop,
          weightVersion: this.#version,
        }),
      );
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#busy = false;
      this.#answer();
    }
  }

  get #version(): string {
    return (this.#lease?.set ?? this.#sets.current).weights.version;
  }

  #give(chunk: GenerationChunk): void {
    if (this.#ended) return;
    if (chunk.finishReason !== null) this.#end();
    this.#calls.shift()!.resolve({ done: false, value: chunk });
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    this.#end();
    this.#calls.shift()!.reject(error);
  }

  #abort(): void {
    this.#leave.abort();
    this.#lease?.stop("abort");
  }

  #end(): void {
    this.#ended = true;
    this.#request.signal?.removeEventListener("abort", this.#onAbort);
    this.#leave.abort();
    this.#leaveSet();
  }

  #leaveSet(): void {
    this.#text?.close();
    this.#running?.[Symbol.dispose]();
    this.#lease?.end();
    this.#text = this.#running = this.#lease = null;
  }
}

const ABORTED: Omit<GenerationChunk, "weightVersion"> = Object.freeze({
  tokenIds: [],
  text: "",
  finishReason: "abort",
  stopReason: null,
});

function chunkOf(output: SchedulerOutput, text: string, weightVersion: string): GenerationChunk {
  const { tokenIds, finishReason, stopReason } = output;
  const { logprobs, promptLogprobs, cachedTokens, queueSeconds } = output;
  const chunk: Mutable<GenerationChunk> = {
    tokenIds,
    text,
    finishReason,
    stopReason,
    weightVersion,
  };
  if (logprobs !== undefined) chunk.logprobs = logprobs;
  if (promptLogprobs !== undefined) chunk.promptLogprobs = promptLogprobs;
  if (cachedTokens !== undefined) chunk.cachedTokens = cachedTokens;
  if (queueSeconds !== undefined) chunk.queueSeconds = queueSeconds;
  return chunk;
}

/** Adds the text of new tokens; a stop text among it ends the request and cuts text and tokens. */
async function withText(
  output: SchedulerOutput,
  stream: TextStream,
  { includesStop, weightVersion }: {
    readonly includesStop: boolean;
    readonly weightVersion: string;
  },
): Promise<GenerationChunk> {
  const { tokenIds, finishReason } = output;
  // The token that ended the generation is no part of the text, unless that is asked for.
  const shown = finishReason === "stop" && !includesStop ? tokenIds.slice(0, -1) : tokenIds;
  const { text, stop } = await stream.push(shown, finishReason !== null);
  const chunk = chunkOf(output, text, weightVersion);
  if (!stop) return chunk;
  return {
    ...chunk,
    tokenIds: tokenIds.slice(0, stop.tokens),
    logprobs: output.logprobs?.slice(0, stop.tokens),
    finishReason: "stop",
    stopReason: stop.stop,
  };
}
