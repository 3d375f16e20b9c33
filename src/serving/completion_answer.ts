/**
 * From generated chunks to the answer of `/v1/completions`.
 * @module
 */
import type { GenerationChunk } from "../engine/types.ts";
import {
  appendLogprobs,
  completionLogprobs,
  emptyLogprobs,
  type ScoredToken,
} from "./completion_logprobs.ts";
import type { Generation, GenerationEvent } from "./generation.ts";
import { formatPromptLogprobs, withTop } from "./prompt_logprobs.ts";
import type { Prompt } from "./prompts.ts";
import type { CompletionRequest } from "./schema/completion_request.ts";
import type {
  Completion,
  CompletionChoice,
  CompletionChunk,
  CompletionLogprobs,
} from "./schema/completion_response.ts";
import type { ServerContext } from "./server_context.ts";
import { usageOfChunk } from "./stream_usage.ts";
import type { TextService } from "./text_service.ts";

/** A choice that may be answered, and how likely its tokens are. */
interface Candidate {
  readonly choice: CompletionChoice;
  tokens: number;
  logprob: number;
}

/**
 * Formats the generations of one completion request: `n` choices per prompt, the most likely ones where `best_of`
 * asks for more.
 */
export class CompletionAnswer {
  readonly #context: ServerContext;
  readonly #request: CompletionRequest;
  readonly #prompts: readonly Prompt[];
  readonly #id: string;
  readonly #created = Math.floor(Date.now() / 1000);
  readonly #choices: number;
  readonly #candidates: number;
  /** Names tokens of log-probabilities; null for their numbers. */
  readonly #names: TextService | null;
  /** Per generation: where the next token's text begins; null before the first chunk. */
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
    const { n, best_of, return_tokens_as_token_ids } = options.request;
    this.#choices = n ?? 1;
    this.#candidates = best_of ?? this.#choices;
    this.#names = return_tokens_as_token_ids === true ? null : context.text;
    this.#offsets = new Array(options.prompts.length * this.#candidates).fill(null);
  }

  /** The answer in one piece. */
  async whole(generation: Generation): Promise<Completion> {
    const head = this.#head(await generation.begin());
    const candidates = this.#offsets.map((_, index): Candidate => ({
      choice: {
        index,
        text: "",
        logprobs: this.#hasLogprobs ? emptyLogprobs() : null,
        finish_reason: null,
        stop_reason: null,
        ...this.#request.return_token_ids
          ? { prompt_token_ids: this.#promptOf(index).tokenIds, token_ids: [] }
          : {},
      },
      tokens: 0,
      logprob: 0,
    }));
    for await (const event of generation.events()) {
      const part = await this.#part(event);
      const candidate = candidates[event.choice];
      const { choice } = candidate;
      choice.text += part.text;
      choice.finish_reason = part.finish_reason;
      choice.stop_reason = part.stop_reason;
      choice.token_ids?.push(...event.chunk.tokenIds);
      if (part.prompt_logprobs !== undefined) choice.prompt_logprobs = part.prompt_logprobs;
      if (choice.logprobs !== null && part.logprobs !== null) {
        appendLogprobs(choice.logprobs, part.logprobs);
      }
      for (const { logprob } of event.chunk.logprobs ?? []) {
        candidate.logprob += logprob;
        candidate.tokens++;
      }
    }
    return { ...head, choices: this.#best(candidates), usage: generation.usage };
  }

  /** The answer as server-sent events, one per chunk of the engine. */
  async *events(generation: Generation): AsyncGenerator<CompletionChunk, void> {
    const head = this.#head(await generation.begin());
    const { stream_options } = this.#request;
    const usage = () => usageOfChunk(stream_options, generation);
    for await (const event of generation.events()) {
      const choices = [await this.#part(event)];
      yield { ...head, choices, ...usage() };
    }
    if (stream_options?.include_usage) yield { ...head, choices: [], usage: generation.usage };
  }

  /** The choices of each prompt: of more candidates those with the most likely tokens, the best one first. */
  #best(candidates: readonly Candidate[]): CompletionChoice[] {
    const [count, of] = [this.#choices, this.#candidates];
    if (count === of) return candidates.map(({ choice }) => choice);
    const mean = ({ logprob, tokens }: Candidate) => logprob / Math.max(1, tokens);
    return this.#prompts.flatMap((_, prompt) =>
      candidates.slice(prompt * of, (prompt + 1) * of)
        .sort((one, other) => mean(other) - mean(one))
        .slice(0, count)
        .map(({ choice }, rank) => ({ ...choice, index: prompt * count + rank }))
    );
  }

  #promptOf(choice: number): Prompt {
    return this.#prompts[Math.floor(choice / this.#candidates)];
  }

  #head(weightVersion: string): Omit<Completion, "choices" | "usage"> {
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
    const prompt = this.#promptOf(choice);
    const { logprobs: top, prompt_logprobs: promptTop } = this.#request;
    const first = this.#offsets[choice] === null;
    const echo = first && this.#request.echo === true;
    const text = (echo ? await this.#promptText(prompt) : "") + chunk.text;
    let logprobs: CompletionLogprobs | null = null;
    if (this.#hasLogprobs) {
      const formatted = await completionLogprobs(
        this.#names,
        scoredTokens(chunk, { echoed: echo ? prompt.tokenIds : null, top: top! }),
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
      ...typeof promptTop === "number" && chunk.promptLogprobs !== undefined
        ? {
          prompt_logprobs: await formatPromptLogprobs(
            this.#names,
            chunk.promptLogprobs,
            promptTop,
          ),
        }
        : {},
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
  { echoed, top }: { readonly echoed: readonly number[] | null; readonly top: number },
): readonly ScoredToken[] {
  const scored = (tokenIds: readonly number[], logprobs: GenerationChunk["promptLogprobs"]) =>
    tokenIds.map((tokenId, index) => {
      const logprob = logprobs?.[index] ?? null;
      return { tokenId, logprob: logprob && withTop(logprob, top) };
    });
  const generated = scored(chunk.tokenIds, chunk.logprobs);
  return echoed === null ? generated : [...scored(echoed, chunk.promptLogprobs), ...generated];
}
