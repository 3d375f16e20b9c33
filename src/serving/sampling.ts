/**
 * From request fields to sampling parameters.
 * @module
 */
import type { SamplingParams } from "../engine/types.ts";
import { badRequest } from "./api_error.ts";
import type { SamplingFields } from "./schema/sampling_fields.ts";
import type { ServerContext } from "./server_context.ts";

/** Parameters that completions and chat completions spell differently. */
export interface SamplingExtras {
  /** Tokens to generate at most. */
  readonly maxTokens: number;
  /** Top log-probabilities beside each token, or null. */
  readonly logprobs: number | null;
  /** The same for the prompt. */
  readonly promptLogprobs: number | null;
}

/**
 * Sampling parameters of a request. What the request leaves out stays out, so that the engine
 * applies the model's own defaults. Throws ApiError 400 for what this model cannot do.
 */
export function toSamplingParams(
  context: ServerContext,
  fields: SamplingFields & SamplingExtras,
): Partial<SamplingParams> {
  const stop = typeof fields.stop === "string" ? [fields.stop] : fields.stop ?? [];
  if (stop.length > 0 && context.text === null) {
    throw badRequest("Cannot match stop texts as the model has no tokenizer", "stop");
  }
  const stopTokenIds = fields.stop_token_ids ?? [];
  const { vocabSize } = context.router.info;
  const outside = stopTokenIds.find((id) => id >= vocabSize);
  if (outside !== undefined) {
    throw badRequest(
      `Cannot stop at token ${outside} as the vocabulary is smaller: ${vocabSize}`,
      "stop_token_ids",
    );
  }
  return {
    ...optional("temperature", fields.temperature),
    ...optional("topP", fields.top_p),
    ...optional("topK", fields.top_k === -1 ? 0 : fields.top_k),
    ...optional("minP", fields.min_p),
    ...optional("ignoreEos", fields.ignore_eos),
    // Negative seeds are allowed by OpenAI's API: their 64 bits are taken as they are.
    ...optional(
      "seed",
      typeof fields.seed === "number" ? BigInt.asUintN(64, BigInt(fields.seed)) : null,
    ),
    stop,
    stopTokenIds,
    maxTokens: fields.maxTokens,
    logprobs: fields.logprobs,
    promptLogprobs: fields.promptLogprobs,
  };
}

function optional<Key extends keyof SamplingParams>(
  key: Key,
  value: SamplingParams[Key] | null | undefined,
): Partial<SamplingParams> {
  return value === null || value === undefined ? {} : { [key]: value };
}
