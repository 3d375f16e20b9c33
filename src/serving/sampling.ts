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
  if (fields.bad_words?.length && context.text === null) {
    throw badRequest("Cannot leave out bad words as the model has no tokenizer", "bad_words");
  }
  const stopTokenIds = fields.stop_token_ids ?? [];
  const { vocabSize } = context.router.info;
  checkTokens("stop_token_ids", stopTokenIds, vocabSize);
  checkTokens("allowed_token_ids", fields.allowed_token_ids ?? [], vocabSize);
  checkTokens("logit_bias", Object.keys(fields.logit_bias ?? {}).map(Number), vocabSize);
  const minTokens = fields.min_tokens ?? 0;
  if (minTokens > fields.maxTokens) {
    throw badRequest(
      `Cannot generate ${minTokens} tokens at least and ${fields.maxTokens} at most`,
      "min_tokens",
    );
  }
  return {
    ...optional("temperature", fields.temperature),
    ...optional("topP", fields.top_p),
    ...optional("topK", fields.top_k === -1 ? 0 : fields.top_k),
    ...optional("minP", fields.min_p),
    ...optional("presencePenalty", fields.presence_penalty),
    ...optional("frequencyPenalty", fields.frequency_penalty),
    ...optional("repetitionPenalty", fields.repetition_penalty),
    ...optional("logitBias", fields.logit_bias),
    ...optional("badWords", fields.bad_words),
    ...optional("allowedTokenIds", fields.allowed_token_ids),
    ...optional("minTokens", fields.min_tokens),
    ...optional("includeStopStrInOutput", fields.include_stop_str_in_output),
    ...optional("skipSpecialTokens", fields.skip_special_tokens),
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

function checkTokens(param: string, ids: readonly number[], vocabSize: number): void {
  const outside = ids.find((id) => id >= vocabSize);
  if (outside === undefined) return;
  throw badRequest(
    `Cannot use token ${outside} as the vocabulary is smaller: ${vocabSize}`,
    param,
  );
}

function optional<Key extends keyof SamplingParams>(
  key: Key,
  value: SamplingParams[Key] | null | undefined,
): Partial<SamplingParams> {
  return value === null || value === undefined ? {} : { [key]: value };
}
