/**
 * A replica that says what a script tells it, and a tokenizer whose tokens are bytes.
 * @module
 */
import {
  EngineDeadError,
  type EngineInfo,
  type EngineStats,
  type GenerateRequest,
  type GenerationChunk,
  type Replica,
  type TokenLogprob,
} from "../../src/engine/types.ts";
import type { ChatMessage } from "../../src/text/chat_message.ts";
import type { RenderChatOptions } from "../../src/text/chat_template.ts";
import type { TokenText } from "../../src/text/token_bytes.ts";
import { TextError } from "../../src/text/text_error.ts";
import type { TextService } from "../../src/serving/text_service.ts";

/** Begin token of {@linkcode FakeText}. */
export const BOS = 256;
/** End token of {@linkcode FakeReplica}. */
export const EOS = 257;

/** Tokens are the bytes of UTF-8; the chat template writes `<role>content` for each message. */
export class FakeText implements TextService {
  readonly rendered: { messages: readonly ChatMessage[]; options: RenderChatOptions }[] = [];

  encode(text: string, options: { addSpecialTokens?: boolean } = {}): Promise<number[]> {
    const bytes = [...new TextEncoder().encode(text)];
    return Promise.resolve(options.addSpecialTokens ?? true ? [BOS, ...bytes] : bytes);
  }

  async renderChat(
    messages: readonly ChatMessage[],
    options: RenderChatOptions = {},
  ): Promise<{ text: string; tokenIds: number[] }> {
    this.rendered.push({ messages, options });
    if (messages[0].role === "tool") {
      throw new TextError("Cannot render the chat template: a tool spoke first", "template");
    }
    const text = messages.map(({ role, content }) => `<${role}>${JSON.stringify(content)}`).join(
      "",
    );
    return { text, tokenIds: await this.encode(text, { addSpecialTokens: false }) };
  }

  tokenTexts(tokenIds: readonly number[]): Promise<TokenText[]> {
    return Promise.resolve(tokenIds.map((id) => ({
      token: `t${id}`,
      text: id > 255 ? `<${id}>` : new TextDecoder().decode(Uint8Array.of(id)),
      bytes: id > 255 ? [] : [id],
    })));
  }

  decode(
    tokenIds: readonly number[],
    { skipSpecialTokens = true }: { skipSpecialTokens?: boolean } = {},
  ): Promise<string> {
    const decoder = new TextDecoder();
    const parts = tokenIds.map((id) =>
      id < 256
        ? decoder.decode(Uint8Array.of(id), { stream: true })
        : skipSpecialTokens
        ? ""
        : `<${id}>`
    );
    return Promise.resolve(parts.join("") + decoder.decode());
  }
}

/** What a {@linkcode FakeReplica} does. */
export interface FakeScript {
  /** Said one character a chunk, then an end token. */
  readonly says?: string | ((request: GenerateRequest) => string);
  /** Milliseconds before each chunk. */
  readonly delayMs?: number;
  /** Awaited before each chunk, whose number it is given. */
  readonly before?: (chunk: number) => Promise<void>;
  /** Dies after so many chunks of a request. */
  readonly diesAfter?: number;
  /** Seconds that a first chunk says its request has waited. */
  readonly queuesFor?: number;
  /** Thrown by `generate` at once. */
  readonly refuses?: Error;
  /** Thrown when the first chunk is asked for. */
  readonly failsLate?: Error;
  /** Throws an error after so many chunks. */
  readonly breaksAfter?: readonly [number, Error];
  /** Ends without a finish reason after so many chunks. */
  readonly silentAfter?: number;
  /** Context of the model. Default 200. */
  readonly maxModelLen?: number;
}

/** A scripted replica. */
export class FakeReplica implements Replica {
  readonly info: EngineInfo;
  readonly requests: GenerateRequest[] = [];
  healthy = true;
  failure: string | null = null;
  stats: EngineStats = {
    running: 0,
    waiting: 0,
    kvBlocksFree: 16,
    kvBlocksTotal: 20,
    prefixCacheQueries: 0,
    prefixCacheHits: 0,
    preemptions: 0,
    promptTokens: 0,
    generationTokens: 0,
    steps: 0,
  };
  /** Chunks handed out so far. */
  chunks = 0;
  /** Requests whose signal fired while they ran. */
  aborted = 0;
  /** Requests that run. */
  active = 0;
  disposed = false;
  /** Version of the weights that generations which begin now come from. */
  weightVersion = "fake";
  readonly #script: FakeScript;

  constructor(script: FakeScript = {}) {
    this.#script = script;
    this.info = {
      architecture: "FakeForCausalLM",
      vocabSize: 258,
      maxModelLen: script.maxModelLen ?? 200,
      tensorParallelSize: 1,
      pipelineParallelSize: 1,
      backend: { device: "fake", kernels: "none" },
    };
  }

  generate(request: GenerateRequest): AsyncIterable<GenerationChunk> {
    this.requests.push(request);
    if (this.#script.refuses !== undefined) throw this.#script.refuses;
    return this.#run(request);
  }

  die(reason: string): EngineDeadError {
    this.healthy = false;
    this.failure = reason;
    return new EngineDeadError(`Cannot go on as the engine died: ${reason}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.healthy = false;
    this.disposed = true;
    return Promise.resolve();
  }

  async *#run(request: GenerateRequest): AsyncGenerator<GenerationChunk> {
    const {
      says = "Hi ☕!",
      delayMs = 0,
      diesAfter,
      failsLate,
      breaksAfter,
      silentAfter,
      queuesFor,
    } = this.#script;
    const said = typeof says === "string" ? says : says(request);
    const { signal, sampling = {} } = request;
    const { weightVersion } = this;
    const { maxTokens = 16, logprobs = null, promptLogprobs = null } = sampling;
    const prompt = request.promptTokenIds ?? [];
    const script = [
      ...[...said].map((text) => ({ text, tokenIds: [...new TextEncoder().encode(text)] })),
      { text: "", tokenIds: [EOS] },
    ];
    let left = maxTokens;
    this.active++;
    try {
      if (failsLate !== undefined) throw failsLate;
      for (let index = 0;; index++) {
        await this.#script.before?.(index);
        await pause(delayMs, signal);
        if (signal?.aborted) {
          this.aborted++;
          yield {
            tokenIds: [],
            text: "",
            finishReason: "abort",
            stopReason: null,
            weightVersion,
          };
          return;
        }
        if (index === diesAfter) throw this.die("a rank was killed");
        if (index === breaksAfter?.[0]) throw breaksAfter[1];
        if (index === silentAfter) return;
        const tokenIds = script[index].tokenIds.slice(0, left);
        left -= tokenIds.length;
        const ended = index === script.length - 1;
        this.chunks++;
        this.stats = {
          ...this.stats,
          steps: this.stats.steps + 1,
          generationTokens: this.stats.generationTokens + tokenIds.length,
        };
        yield {
          tokenIds,
          text: tokenIds.length === script[index].tokenIds.length ? script[index].text : "",
          ...logprobs === null ? {} : { logprobs: tokenIds.map((id) => scored(id, logprobs)) },
          ...promptLogprobs === null || index > 0 ? {} : {
            promptLogprobs: prompt.map((id, at) => at === 0 ? null : scored(id, promptLogprobs)),
          },
          finishReason: ended ? "stop" : left === 0 ? "length" : null,
          stopReason: null,
          ...index === 0 && queuesFor !== undefined ? { queueSeconds: queuesFor } : {},
          weightVersion,
        };
        if (ended || left === 0) return;
      }
    } finally {
      this.active--;
    }
  }
}

/** The next id is always one nat less likely; the last of a long list is impossible. */
function scored(tokenId: number, top: number): TokenLogprob {
  const logprob = -tokenId / 100;
  const all = Array.from(
    { length: top },
    (_, rank) => [(tokenId + rank) % 256, rank === 4 ? -Infinity : logprob - rank] as const,
  );
  return { tokenId, logprob, top: all };
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  if (milliseconds === 0) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", done);
    if (signal?.aborted) done();
  });
}
