/**
 * From generated chunks to the answer of `/v1/chat/completions`.
 * @module
 */
import type { GenerationChunk } from "../engine/types.ts";
import { toPlainMessages } from "../text/chat_message.ts";
import { chatLogprobs } from "./chat_logprobs.ts";
import type { Generation } from "./generation.ts";
import { formatPromptLogprobs } from "./prompt_logprobs.ts";
import type { Prompt } from "./prompts.ts";
import type { ChatRequest } from "./schema/chat_request.ts";
import type {
  ChatChoice,
  ChatChunkChoice,
  ChatCompletion,
  ChatCompletionChunk,
  ChatLogprobs,
} from "./schema/chat_response.ts";
import type { ServerContext } from "./server_context.ts";
import { usageOfChunk } from "./stream_usage.ts";
import type { TextService } from "./text_service.ts";

/** Fields that a whole answer and its chunks have in common. */
type Head<Body extends ChatCompletion | ChatCompletionChunk> = Omit<
  Body,
  "choices" | "usage" | "prompt_logprobs"
>;

/** Formats the generations of one chat request, `n` choices. */
export class ChatAnswer {
  readonly #context: ServerContext;
  readonly #request: ChatRequest;
  readonly #prompt: Prompt;
  readonly #indices: readonly number[];
  /** What every choice begins with, though nobody generated it. */
  readonly #echo: string;
  /** Names tokens of log-probabilities; null for their numbers. */
  readonly #names: TextService | null;
  readonly #id: string;
  readonly #created = Math.floor(Date.now() / 1000);

  /** Formats for `request`, named `id`, whose conversation was rendered as `prompt`. */
  constructor(
    context: ServerContext,
    options: { readonly request: ChatRequest; readonly prompt: Prompt; readonly id: string },
  ) {
    this.#id = `chatcmpl-${options.id}`;
    this.#context = context;
    this.#request = options.request;
    this.#prompt = options.prompt;
    const { n, echo, messages, return_tokens_as_token_ids } = options.request;
    this.#echo = echo === true ? assistantText(messages) : "";
    this.#indices = Array.from({ length: n ?? 1 }, (_, index) => index);
    this.#names = return_tokens_as_token_ids === true ? null : context.text;
  }

  /** The answer in one piece. */
  async whole(generation: Generation): Promise<ChatCompletion> {
    const head = this.#head("chat.completion", await generation.begin());
    const choices = this.#indices.map((index): ChatChoice => ({
      index,
      message: { role: "assistant", content: this.#echo, refusal: null },
      logprobs: this.#request.logprobs ? { content: [], refusal: null } : null,
      finish_reason: null,
      stop_reason: null,
      ...this.#request.return_token_ids
        ? { prompt_token_ids: this.#prompt.tokenIds, token_ids: [] }
        : {},
    }));
    let ofPrompt: GenerationChunk["promptLogprobs"];
    for await (const { choice: index, chunk } of generation.events()) {
      const choice = choices[index];
      choice.message.content += chunk.text;
      choice.finish_reason = chunk.finishReason;
      choice.stop_reason = chunk.stopReason;
      choice.token_ids?.push(...chunk.tokenIds);
      const logprobs = await this.#logprobs(chunk);
      choice.logprobs?.content.push(...logprobs?.content ?? []);
      ofPrompt ??= chunk.promptLogprobs;
    }
    const promptLogprobs = await this.#promptLogprobs(ofPrompt);
    return { ...head, choices, usage: generation.usage, ...promptLogprobs };
  }

  /** The answer as server-sent events: the roles first, then one event per chunk of the engine. */
  async *events(generation: Generation): AsyncGenerator<ChatCompletionChunk, void> {
    const head = this.#head("chat.completion.chunk", await generation.begin());
    const { stream_options, return_token_ids } = this.#request;
    const usage = () => usageOfChunk(stream_options, generation);
    for (const index of this.#indices) {
      const start: ChatChunkChoice = {
        index,
        delta: { role: "assistant", content: "" },
        logprobs: null,
        finish_reason: null,
        stop_reason: null,
        ...return_token_ids ? { prompt_token_ids: this.#prompt.tokenIds } : {},
      };
      yield { ...head, choices: [start], ...usage() };
    }
    for (const index of this.#echo === "" ? [] : this.#indices) {
      const delta = { content: this.#echo };
      const choice = { index, delta, logprobs: null, finish_reason: null, stop_reason: null };
      yield { ...head, choices: [choice], ...usage() };
    }
    for await (const { choice: index, chunk } of generation.events()) {
      const choice: ChatChunkChoice = {
        index,
        delta: chunk.text === "" && chunk.finishReason !== null ? {} : { content: chunk.text },
        logprobs: await this.#logprobs(chunk),
        finish_reason: chunk.finishReason,
        stop_reason: chunk.stopReason,
        ...return_token_ids ? { token_ids: [...chunk.tokenIds] } : {},
      };
      yield { ...head, choices: [choice], ...usage() };
    }
    if (stream_options?.include_usage) yield { ...head, choices: [], usage: generation.usage };
  }

  #head<Kind extends string>(
    object: Kind,
    weightVersion: string,
  ): Omit<Head<ChatCompletion>, "object"> & { object: Kind } {
    return {
      id: this.#id,
      object,
      created: this.#created,
      model: this.#context.modelNames[0],
      system_fingerprint: this.#context.systemFingerprint(weightVersion),
      weight_version: weightVersion,
    };
  }

  async #logprobs(chunk: GenerationChunk): Promise<ChatLogprobs | null> {
    if (this.#request.logprobs !== true) return null;
    const content = await chatLogprobs(this.#names, chunk.logprobs ?? []);
    return { content, refusal: null };
  }

  async #promptLogprobs(
    entries: GenerationChunk["promptLogprobs"],
  ): Promise<Pick<ChatCompletion, "prompt_logprobs">> {
    const count = this.#request.prompt_logprobs;
    if (typeof count !== "number" || entries === undefined) return {};
    return { prompt_logprobs: await formatPromptLogprobs(this.#names, entries, count) };
  }
}

/** The text of the last message where it is the assistant's. */
function assistantText(messages: ChatRequest["messages"]): string {
  const { role, content } = messages[messages.length - 1];
  return role === "assistant" ? toPlainMessages([{ role, content }])[0].content : "";
}
