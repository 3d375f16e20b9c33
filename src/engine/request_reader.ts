/**
 * What a request asks for.
 * @module
 */
import type { TextProcessor } from "../text/text_processor.ts";
import type { LoadedModel } from "./loaded_model.ts";
import { type GenerateRequest, type SamplingParams, UnsupportedRequestError } from "./types.ts";

/** Reads the prompts of an engine's requests and completes their parameters. */
export class RequestReader {
  /** The model's tokenizer, or null. */
  readonly text: TextProcessor | null;
  readonly #seed: bigint | null;

  /** `seed` is that of requests that bring none; null leaves it to chance. */
  constructor(text: TextProcessor | null, seed: bigint | null) {
    this.text = text;
    this.#seed = seed;
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
    return { ...resolved, seed: resolved.seed ?? this.#seed };
  }
}
