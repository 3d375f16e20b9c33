/**
 * What a request asks for.
 * @module
 */
import { TextError, type TextErrorReason } from "../text/text_error.ts";
import type { TextProcessor } from "../text/text_processor.ts";
import { badWordTokens } from "./bad_words.ts";
import type { LoadedModel } from "./loaded_model.ts";
import {
  type EngineOptions,
  type GenerateRequest,
  type SamplingParams,
  UnsupportedRequestError,
} from "./types.ts";

/** A text that takes too long to encode is as much the request's fault as a malformed one. */
const REQUEST_FAULTS: ReadonlySet<TextErrorReason> = new Set(["input", "timeout"]);

/** Reads the prompts of an engine's requests and completes their parameters. */
export class RequestReader {
  /** The model's tokenizer, or null. */
  readonly text: TextProcessor | null;
  readonly #seed: bigint | null;
  readonly #schedulingPolicy: EngineOptions["schedulingPolicy"];

  /** Reads by the options of an engine whose tokenizer is `text`. */
  constructor(
    text: TextProcessor | null,
    { seed, schedulingPolicy }: Pick<EngineOptions, "seed" | "schedulingPolicy">,
  ) {
    this.text = text;
    this.#seed = seed ?? null;
    this.#schedulingPolicy = schedulingPolicy;
  }

  /** The tokens of a prompt. Rejects with UnsupportedRequestError when there is none that can be read. */
  async readPrompt({ prompt, promptTokenIds }: GenerateRequest): Promise<readonly number[]> {
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

  /** The tokens of a request's bad words. Rejects with UnsupportedRequestError when they can't be encoded in time. */
  async readBadWords({ badWords }: SamplingParams): Promise<readonly (readonly number[])[]> {
    if (badWords.length === 0 || this.text === null) return [];
    try {
      return await badWordTokens(badWords, this.text);
    } catch (error) {
      if (!(error instanceof TextError) || !REQUEST_FAULTS.has(error.reason)) throw error;
      throw new UnsupportedRequestError(error.message, "badWords");
    }
  }

  /** The place of a request before others; throws UnsupportedRequestError for one that has none here. */
  readPriority({ priority = 0 }: GenerateRequest): number {
    if (priority !== (priority | 0)) {
      throw new UnsupportedRequestError(
        `Cannot order requests as priority must be a whole number of 32 bits: current value is ${priority}`,
        "priority",
      );
    }
    if (priority === 0 || this.#schedulingPolicy === "priority") return priority;
    throw new UnsupportedRequestError(
      `Cannot follow a priority as the scheduling policy is first come, first served: ` +
        `current value is ${priority}`,
      "priority",
    );
  }

  /** The parameters of a request on `model`; throws UnsupportedRequestError for those that can't be served. */
  resolveSampling(
    { sampling = {} }: GenerateRequest,
    { model, promptLength }: { readonly model: LoadedModel; readonly promptLength: number },
  ): SamplingParams {
    const resolved = model.resolveSampling(sampling, promptLength);
    if (resolved.stop.length > 0 && !this.text) {
      throw new UnsupportedRequestError(
        "Cannot look for stop texts as the model folder has no tokenizer: give stopTokenIds",
        "stop",
      );
    }
    if (resolved.badWords.length > 0 && !this.text) {
      throw new UnsupportedRequestError(
        "Cannot leave out bad words as the model folder has no tokenizer: give a logitBias of tokens",
        "badWords",
      );
    }
    return { ...resolved, seed: resolved.seed ?? this.#seed };
  }
}
