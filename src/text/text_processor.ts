/**
 * Tokenizer, chat template and detokenizer of a model folder, off the caller's thread.
 * @module
 */
import { type ChatMessage, toPlainMessages } from "./chat_message.ts";
import type { RenderChatOptions } from "./chat_template.ts";
import { messageOf, TextError } from "./text_error.ts";
import type { RenderedChat, TextInfo, TextStreamOptions } from "./text_model.ts";
import { DEFAULT_MAX_INPUT_CHARACTERS } from "./text_protocol.ts";
import { type TextStream, TextStreamRegistry } from "./text_stream.ts";
import type { TokenText } from "./token_bytes.ts";
import { WorkerChannel } from "./worker_channel.ts";

/** Options of {@linkcode TextProcessor.load}. */
export interface TextProcessorOptions {
  /**
   * Characters (UTF-16 units) of one text or conversation; longer ones are refused unread.
   * Default 1048576. A token rarely has more than 16, so a caller that knows the longest prompt
   * can set 16 times its tokens.
   */
  readonly maxInputCharacters?: number;
  /** Milliseconds that one call may take before its worker is replaced. Default 10000. */
  readonly timeoutMs?: number;
  /** Milliseconds that loading may take. Default 120000. */
  readonly loadTimeoutMs?: number;
}

/** Pushes of this many streams travel in one message at most. */
const MAX_STREAM_BATCH = 1024;

/**
 * Text in and out of a model. Two workers do the work: one encodes and renders prompts, one call
 * at a time, as a single prompt may take seconds (a hostile template, a million spaces); the other,
 * which loads no merges, decodes, so that running generations never wait for prompts. A worker that
 * doesn't answer in time is replaced; only the call that stopped it fails, and open streams go on.
 *
 * @example
 * ```ts
 * import { TextProcessor } from "@weft/weft";
 * using text = await TextProcessor.load("models/demo");
 * const tokenIds = await text?.encode("What is NCCL?");
 * ```
 */
export class TextProcessor implements Disposable {
  /** What the tokenizer's files say. */
  readonly info: TextInfo;
  readonly #prompts: WorkerChannel;
  readonly #decoder: WorkerChannel;
  readonly #streams: TextStreamRegistry;
  readonly #maxInputCharacters: number;

  private constructor(
    info: TextInfo,
    parts: {
      readonly prompts: WorkerChannel;
      readonly decoder: WorkerChannel;
      readonly streams: TextStreamRegistry;
      readonly maxInputCharacters: number;
    },
  ) {
    this.info = info;
    this.#prompts = parts.prompts;
    this.#decoder = parts.decoder;
    this.#streams = parts.streams;
    this.#maxInputCharacters = parts.maxInputCharacters;
  }

  /**
   * Starts the workers for a model folder; null when it has no tokenizer.json.
   *
   * @throws {TextError} when a file is too large, malformed or not supported.
   */
  static async load(
    folder: string,
    options: TextProcessorOptions = {},
  ): Promise<TextProcessor | null> {
    const {
      maxInputCharacters = DEFAULT_MAX_INPUT_CHARACTERS,
      timeoutMs = 10_000,
      loadTimeoutMs = 120_000,
    } = options;
    checkPositive({ maxInputCharacters, timeoutMs, loadTimeoutMs });
    if (!await exists(`${folder}/tokenizer.json`)) return null;
    const streams = new TextStreamRegistry();
    const common = { folder, timeoutMs, loadTimeoutMs };
    const prompts = new WorkerChannel({
      ...common,
      model: { maxInputCharacters },
      maxBatch: 1,
      restore: () => [],
    });
    const decoder = new WorkerChannel({
      ...common,
      model: { decodeOnly: true },
      maxBatch: MAX_STREAM_BATCH,
      restore: () => streams.restoreCalls(),
    });
    try {
      const [info] = await Promise.all([prompts.start(), decoder.start()]);
      return new TextProcessor(info, { prompts, decoder, streams, maxInputCharacters });
    } catch (error) {
      prompts[Symbol.dispose]();
      decoder[Symbol.dispose]();
      throw error;
    }
  }

  /** Tokens of `text`, by default with the special tokens around it. Rejects with a TextError. */
  async encode(
    text: string,
    options: { readonly addSpecialTokens?: boolean } = {},
  ): Promise<number[]> {
    this.#checkLength(text.length);
    const { addSpecialTokens = true } = options;
    return await this.#prompts.call<number[]>({ kind: "encode", text, addSpecialTokens });
  }

  /**
   * Renders a conversation by the model's chat template and encodes it. Rejects with a TextError:
   * reason `template` when the template refuses the messages.
   */
  async renderChat(
    messages: readonly ChatMessage[],
    options: RenderChatOptions = {},
  ): Promise<RenderedChat> {
    const plain = toPlainMessages(messages);
    const { addGenerationPrompt, continueFinalMessage, templateVariables } = options;
    const variables = toJson(templateVariables ?? {});
    this.#checkLength(
      plain.reduce(
        (sum, { role, name, content }) => sum + role.length + (name?.length ?? 0) + content.length,
        variables.length,
      ),
    );
    return await this.#prompts.call<RenderedChat>({
      kind: "renderChat",
      messages: plain,
      options: {
        addGenerationPrompt,
        continueFinalMessage,
        templateVariables: JSON.parse(variables),
      },
    });
  }

  /** Text of `tokenIds`, by default without special tokens. Rejects with a TextError. */
  async decode(
    tokenIds: readonly number[],
    options: { readonly skipSpecialTokens?: boolean } = {},
  ): Promise<string> {
    this.#checkLength(tokenIds.length);
    const { skipSpecialTokens = true } = options;
    return await this.#decoder.call<string>({ kind: "decode", tokenIds, skipSpecialTokens });
  }

  /** Text and bytes of each token alone, special ones included. Rejects with a TextError. */
  async tokenTexts(tokenIds: readonly number[]): Promise<TokenText[]> {
    this.#checkLength(tokenIds.length);
    return await this.#decoder.call<TokenText[]>({ kind: "tokenTexts", tokenIds });
  }

  /**
   * Opens a stream that turns tokens into text as they come.
   *
   * @throws {TextError} when a stop string is empty or not valid Unicode.
   */
  openStream(options: TextStreamOptions = {}): TextStream {
    return this.#streams.open(this.#decoder, options);
  }

  /** Ends the workers; calls that wait are rejected. */
  [Symbol.dispose](): void {
    this.#prompts[Symbol.dispose]();
    this.#decoder[Symbol.dispose]();
  }

  #checkLength(length: number): void {
    if (length > this.#maxInputCharacters) {
      throw new TextError(
        `Cannot process more than ${this.#maxInputCharacters} characters: current length is ${length}`,
        "input",
      );
    }
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new TextError(`Cannot read ${path}: ${messageOf(error)}`, "load", { cause: error });
  }
}

function toJson(variables: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(variables);
  } catch (error) {
    throw new TextError(
      `Cannot pass the template variables as they are not JSON: ${messageOf(error)}`,
      "input",
      { cause: error },
    );
  }
}

function checkPositive(values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!Number.isInteger(value) || value < 1 || value > 0x7fff_ffff) {
      throw new RangeError(
        `Cannot load the tokenizer as ${name} must be a positive 31-bit integer: current value is ${value}`,
      );
    }
  }
}
