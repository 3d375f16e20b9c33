/**
 * From prompts as they were sent to token ids that fit the model.
 * @module
 */
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import { TextError, type TextErrorReason } from "../text/text_error.ts";
import { badRequest } from "./api_error.ts";
import type { ReplicaRouter } from "./replica_router.ts";
import { MAX_ANSWER_LOGPROBS, MAX_ANSWER_TOKENS } from "./schema/limits.ts";
import type { PromptInput } from "./schema/prompt.ts";
import type { ServerContext } from "./server_context.ts";

/** A text that takes too long to process is as much the request's fault as a malformed one. */
const REQUEST_FAULTS: ReadonlySet<TextErrorReason> = new Set(["input", "template", "timeout"]);

/** A prompt that is ready for the engine. */
export interface Prompt {
  /** Its tokens. */
  readonly tokenIds: readonly number[];
  /** Its text as it was sent; null when token ids were sent. */
  readonly text: string | null;
}

/** Tokenizes what is text and checks what is token ids; throws ApiError 400. */
export function resolvePrompts(
  context: ServerContext,
  inputs: readonly PromptInput[],
  options: { readonly addSpecialTokens: boolean },
): Promise<Prompt[]> {
  const { text } = context;
  const { vocabSize } = context.router.info;
  return Promise.all(inputs.map(async (input): Promise<Prompt> => {
    if (typeof input !== "string") {
      const outside = input.find((id) => id >= vocabSize);
      if (outside === undefined) return { tokenIds: input, text: null };
      throw badRequest(
        `Cannot accept token ${outside} as the vocabulary is smaller: ${vocabSize}`,
        "prompt",
      );
    }
    if (text === null) {
      throw badRequest(
        "Cannot tokenize the prompt as the model has no tokenizer: send token ids",
        "prompt",
      );
    }
    const tokenIds = await blamingText("prompt", () => text.encode(input, options));
    return { tokenIds, text: input };
  }));
}

/** Runs a text operation; what is the request's fault becomes ApiError 400 that blames `param`. */
export async function blamingText<T>(param: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const ofRequest = error instanceof TextError && REQUEST_FAULTS.has(error.reason);
    throw ofRequest ? badRequest(error.message, param) : error;
  }
}

/** Names of the fields that a length error blames. */
export interface LengthParams {
  /** The field that holds the prompt. */
  readonly prompt: string;
  /** The field that limits the output. */
  readonly maxTokens: string;
}

/** What multiplies the tokens of an answer. */
export interface AnswerSize {
  /** Choices of all prompts. */
  readonly choices: number;
  /** Log-probabilities beside that of each token; null without any. */
  readonly logprobs: number | null;
}

/** Tokens of a choice at most; throws ApiError 400 when more are `requested`. */
function boundAnswer(
  requested: number | null,
  { answer: { choices, logprobs }, params }: {
    readonly answer: AnswerSize;
    readonly params: LengthParams;
  },
): number {
  const entries = logprobs === null ? 0 : logprobs + 1;
  const most = Math.floor(
    Math.min(MAX_ANSWER_TOKENS / choices, MAX_ANSWER_LOGPROBS / (choices * entries)),
  );
  if (requested === null || requested <= most) return most;
  const each = logprobs === null ? "" : ` with ${entries} log-probabilities each`;
  throw badRequest(
    `Cannot answer with ${choices} choices of ${requested} tokens${each} as the limit is ${most}`,
    params.maxTokens,
  );
}

/** Keeps the last `count` tokens of a prompt, where that is a number. */
export function truncatePrompt(prompt: Prompt, count: number | null | undefined): Prompt {
  if (count === null || count === undefined || prompt.tokenIds.length <= count) return prompt;
  return { tokenIds: prompt.tokenIds.slice(-count), text: null };
}

/**
 * Tokens to generate at most, so that prompts and outputs fit the context and the KV cache.
 * `requested` is refused when it does not fit; null takes `fallback`, or less where the room ends.
 */
export function fitContext(
  context: ServerContext,
  prompts: readonly Prompt[],
  options: {
    readonly requested: number | null;
    readonly fallback: number;
    readonly answer: AnswerSize;
    readonly params: LengthParams;
  },
): number {
  const { requested, params } = options;
  const fallback = Math.min(options.fallback, boundAnswer(requested, options));
  if (prompts.some((prompt) => prompt.tokenIds.length === 0)) {
    throw badRequest("Cannot continue an empty prompt: it has no tokens", params.prompt);
  }
  const longest = Math.max(...prompts.map((prompt) => prompt.tokenIds.length));
  const { size, name } = capacity(context.router);
  const room = size - longest;
  if (room < (requested === 0 ? 0 : 1)) {
    throw badRequest(
      `Cannot fit the prompt into the ${name} of ${size} tokens: it has ${longest}`,
      params.prompt,
      "context_length_exceeded",
    );
  }
  if (requested !== null && requested > room) {
    throw badRequest(
      `Cannot fit prompt and output into the ${name} of ${size} tokens: ${longest} + ${requested}`,
      params.maxTokens,
      "context_length_exceeded",
    );
  }
  return requested ?? Math.min(fallback, room);
}

/** The tokens that one request may have, and what limits them. */
function capacity({ info, replicas }: ReplicaRouter): { size: number; name: string } {
  // A replica that does not know its blocks (a remote one) reports none.
  const pools = replicas.map(({ stats }) => stats.kvBlocksTotal).filter((blocks) => blocks > 0);
  // The last token of an output is not stored.
  const pool = Math.min(...pools) * KV_BLOCK_SIZE + 1;
  return pool < info.maxModelLen
    ? { size: pool, name: "KV cache" }
    : { size: info.maxModelLen, name: "context" };
}
