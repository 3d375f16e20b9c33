/**
 * From generated chunks to the answer of `/v1/completions`.
 * @module
 */
import type { GenerationChunk } from "../engine/types.ts";
import {
  appendLogprobs,
  type CompletionLogprobs,
  completionLogprobs,
  emptyLogprobs,
  type ScoredToken,
} from "./completion_logprobs.ts";
import type { Generation, GenerationEvent, Usage } from "./generation.ts";
import type { Prompt } from "./prompts.ts";
import type { CompletionRequest } from "./schema/completion_request.ts";
import type { ServerContext } from "./server_context.ts";

interface CompletionChoice {
  readonly index: number;
  text: string;
  readonly logprobs: CompletionLogprobs | null;
  finish_reason: string | null;
  stop_reason: string | number | null;
  readonly prompt_token_ids?: readonly number[];
  readonly token_ids?: number[];
}

interface CompletionHead {
  readonly id: string;
  readonly object: "text_completion";
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
  readonly weight_version: string;
}

interface CompletionBody extends CompletionHead {
  readonly choices: readonly CompletionChoice[];
  readonly usage?: Usage | null;
}

/** Formats the generations of one completion request, one choice per prompt. */
export class CompletionAnswer {
  readonly #context: ServerContext;
  readonly #request: CompletionRequest;
  readonly #prompts: readonly Prompt[];
  readonly #id: string;
  readonly #created = Math.floor(Date.now() / 1000);
  /** Per choice: where the next token's text begins; null before the first chunk. */
  readonly #offsets: (number | null)[];

  /** Formats for `request`, named `id`, whose prompts are `prompts`. */
  constructor(
    context: ServerContext,
    options: {
      readonly request: CompletionRequest;
      readonly prompts: readonly Prompt[];
      readonly id: string;
    },
  ) {
    this.#id = `cmpl-${options.id}`;
    this.#context = context;
    this.#request = options.request;
    this.#prompts = options.prompts;
    this.#offsets = options.prompts.map(() => null);
  }

  /** The answer in one piece. */
  async whole(generation: Generation): Promise<CompletionBody> {
    const head = this.#head(await generation.begin());
    const choices = this.#prompts.map(({ tokenIds }, index): CompletionChoice => ({
      index,
      text: "",
      logprobs: this.#hasLogprobs ? emptyLogprobs() : null,
      finish_reason: null,
      stop_reason: null,
      ...this.#request.return_token_ids ? { prompt_token_ids: tokenIds, token_ids: [] } : {},
    }));
    for await (const event of generation.events()) {
      const part = await this.#part(event);
      const choice = choices[event.choice];
      choice.text += part.text;
      choice.finish_reason = part.finish_reason;
      choice.stop_reason = part.stop_reason;
      choice.token_ids?.push(...event.chunk.tokenIds);
      if (choice.logprobs !== null && part.logprobs !== null) {
        appendLogprobs(choice.logprobs, part.logprobs);
      }
    }
    return { ...head, choices, usage: generation.usage };
  }

  /** The answer as server-sent events, one per chunk of the engine. */
  async *events(generation: Generation): AsyncGenerator<CompletionBody, void> {
    const head = this.#head(await generation.begin());
    const withUsage = this.#request.stream_options?.include_usage === true;
    const usage = withUsage ? { usage: null } : {};
    for await (const event of generation.events()) {
      yield { ...head, choices: [await this.#part(event)], ...usage };
    }
    if (withUsage) yield { ...head, choices: [], usage: generation.usage };
  }

  #head(weightVersion: string): CompletionHead {
    return {
      id: this.#id,
      object: "text_completion",
      created: this.#created,
      model: this.#context.modelNames[0],
      system_fingerprint: this.#context.systemFingerprint(weightVersion),
      weight_version: weightVersion,
    };
  }

  get #hasLogprobs(): boolean {
    return typeof this.#request.logprobs === "number";
  }

  /** What one chunk adds to its choice; the first one brings the prompt where it is echoed. */
  async #part({ choice, chunk }: GenerationEvent): Promise<CompletionChoice> {
    const prompt = this.#prompts[choice];
    const first = this.#offsets[choice] === null;
    const echo = first && this.#request.echo === true;
    const text = (echo ? await this.#promptText(prompt) : "") + chunk.text;
    let logprobs: CompletionLogprobs | null = null;
    if (this.#hasLogprobs) {
      const formatted = await completionLogprobs(
        this.#context.text,
        scoredTokens(chunk, echo ? prompt.tokenIds : null),
        this.#offsets[choice] ?? 0,
      );
      logprobs = formatted.logprobs;
      this.#offsets[choice] = formatted.end;
    } else {
      this.#offsets[choice] = 0;
    }
    return {
      index: choice,
      text,
      logprobs,
      finish_reason: chunk.finishReason,
      stop_reason: chunk.stopReason,
      ...this.#request.return_token_ids
        ? {
          ...first ? { prompt_token_ids: prompt.tokenIds } : {},
          token_ids: [...chunk.tokenIds],
        }
        : {},
    };
  }

  #promptText(prompt: Prompt): Promise<string> | string {
    return prompt.text ?? this.#context.text?.decode(prompt.tokenIds) ?? "";
  }
}

function scoredTokens(
  chunk: GenerationChunk,
  echoed: readonly number[] | null,
): readonly ScoredToken[] {
  const scored = (tokenIds: readonly number[], logprobs: GenerationChunk["promptLogprobs"]) =>
    tokenIds.map((tokenId, index) => ({ tokenId, logprob: logprobs?.[index] ?? null }));
  const generated = scored(chunk.tokenIds, chunk.logprobs);
  return echoed === null ? generated : [...scored(echoed, chunk.promptLogprobs), ...generated];
}
