/**
 * Tokenizer and chat template of one model folder: the synchronous core that runs in the workers.
 * @module
 */
import { Tokenizer } from "@huggingface/tokenizers";
import { type ChatMessage, toPlainMessages } from "./chat_message.ts";
import { ChatTemplate, type RenderChatOptions } from "./chat_template.ts";
import { Detokenizer } from "./detokenizer.ts";
import { checkStopStrings } from "./stop_matcher.ts";
import { messageOf, TextError } from "./text_error.ts";
import { DEFAULT_MAX_INPUT_CHARACTERS } from "./text_protocol.ts";
import { byteLevelBytes, fallbackByte, type TokenText } from "./token_bytes.ts";
import { readTokenizerFiles, type TokenizerFiles } from "./tokenizer_files.ts";

/** What the tokenizer's files say. */
export interface TextInfo {
  /** Highest token id plus one, added tokens included. */
  readonly vocabSize: number;
  /** Id of the begin token, or null. */
  readonly bosTokenId: number | null;
  /** Id of the end token, or null; generation_config.json may name more. */
  readonly eosTokenId: number | null;
  /** Id of the padding token, or null. */
  readonly padTokenId: number | null;
  /** Ids of all special tokens, ascending. */
  readonly specialTokenIds: readonly number[];
  /** Whether conversations can be rendered. */
  readonly hasChatTemplate: boolean;
}

/** Options of {@linkcode TextModel.load}. */
export interface TextModelOptions {
  /** Characters (UTF-16 units) of one text or rendered conversation. Default 1048576. */
  readonly maxInputCharacters?: number;
  /** Leave out what only encoding needs; {@linkcode TextModel.encode} must not be called. Default false. */
  readonly decodeOnly?: boolean;
}

/** Options of a stream of text. */
export interface TextStreamOptions {
  /** Texts that end the stream. */
  readonly stop?: readonly string[];
  /** Tokens whose text ends at no stop text: those that come first. Default 0. */
  readonly minTokens?: number;
  /** Leave special tokens out of the text. Default true. */
  readonly skipSpecialTokens?: boolean;
  /** Keep the stop string in the text. Default false. */
  readonly includeStop?: boolean;
}

/** A conversation as text and as tokens. */
export interface RenderedChat {
  /** What the template wrote. */
  readonly text: string;
  /** Its tokens. */
  readonly tokenIds: number[];
}

/** Stands for the text where the post-processor is asked what it puts around it. */
const BODY = "\uE0F0body\uE0F1";

/** Encodes, decodes and renders with the files of one folder. */
export class TextModel {
  /** What the files say. */
  readonly info: TextInfo;
  readonly #tokenizer: Tokenizer;
  readonly #maxInputCharacters: number;
  readonly #special: ReadonlySet<number>;
  readonly #prefix: readonly number[];
  readonly #suffix: readonly number[];
  readonly #template: ChatTemplate | TextError | null;
  readonly #anchor: number | null;
  readonly #byteLevel: boolean;

  private constructor(files: TokenizerFiles, options: TextModelOptions) {
    const { tokenizer, config, specialTokens } = files;
    if (options.decodeOnly) dropMerges(tokenizer);
    this.#tokenizer = new Tokenizer(tokenizer, { ...config, ...specialTokens });
    this.#maxInputCharacters = options.maxInputCharacters ?? DEFAULT_MAX_INPUT_CHARACTERS;
    this.#special = new Set(
      tokenizer.added_tokens.filter((token) => token.special).map((token) => token.id),
    );
    const idOf = (role: string) => this.#tokenizer.token_to_id(String(specialTokens[role])) ?? null;
    this.info = {
      vocabSize: files.vocabSize,
      bosTokenId: idOf("bos_token"),
      eosTokenId: idOf("eos_token"),
      padTokenId: idOf("pad_token"),
      specialTokenIds: [...this.#special].sort((a, b) => a - b),
      hasChatTemplate: files.chatTemplate !== null,
    };
    const [prefix, suffix] = this.#affixes();
    this.#prefix = affix(prefix, this.info.bosTokenId, config.add_bos_token);
    this.#suffix = affix(suffix, this.info.eosTokenId, config.add_eos_token);
    this.#template = compile(files);
    const letter = ["a", "\u2581a", "A", "0", "e"].find((text) =>
      this.#tokenizer.token_to_id(text) !== undefined
    );
    this.#anchor = letter === undefined ? null : this.#tokenizer.token_to_id(letter)!;
    this.#byteLevel = JSON.stringify(tokenizer.decoder ?? null).includes('"ByteLevel"');
  }

  /**
   * Reads a model folder.
   *
   * @throws {TextError} with reason `load` when a file is missing, too large, malformed or not supported.
   */
  static load(folder: string, options: TextModelOptions = {}): TextModel {
    const files = readTokenizerFiles(folder);
    try {
      return new TextModel(files, options);
    } catch (error) {
      throw new TextError(`Cannot use ${folder}/tokenizer.json: ${messageOf(error)}`, "load", {
        cause: error,
      });
    }
  }

  /**
   * Tokens of `text`. With special tokens (the default) it begins and ends as the tokenizer's
   * files say.
   *
   * @throws {TextError} when the text is longer than the limit.
   */
  encode(text: string, options: { readonly addSpecialTokens?: boolean } = {}): number[] {
    if (text.length > this.#maxInputCharacters) {
      throw new TextError(
        `Cannot encode the text as it exceeds ${this.#maxInputCharacters} characters: current length is ${text.length}`,
        "input",
      );
    }
    const { ids } = this.#tokenizer.encode(text, { add_special_tokens: false });
    // Characters that a vocabulary without an unknown token does not cover have no id.
    const body = ids.filter((id) => id !== undefined);
    return options.addSpecialTokens ?? true ? [...this.#prefix, ...body, ...this.#suffix] : body;
  }

  /**
   * Text of `tokenIds`; ids without a token have none. Spaces before punctuation stay: what
   * some tokenizer_config.json call clean-up would make the text differ from the streamed one.
   */
  decode(
    tokenIds: readonly number[],
    options: { readonly skipSpecialTokens?: boolean } = {},
  ): string {
    const skipSpecial = options.skipSpecialTokens ?? true;
    const tokens: string[] = [];
    for (const id of tokenIds) {
      const token = this.#tokenizer.id_to_token(id);
      if (token !== undefined && !(skipSpecial && this.#special.has(id))) tokens.push(token);
    }
    if (tokens.length === 0) return "";
    return this.#tokenizer.decoder?.decode(tokens) ?? tokens.join(" ");
  }

  /**
   * Renders a conversation and encodes it. The template writes the begin token where the model
   * wants one, so encoding adds none.
   *
   * @throws {TextError} when there is no template, it refuses the messages, or the result is too long.
   */
  renderChat(messages: readonly ChatMessage[], options: RenderChatOptions = {}): RenderedChat {
    if (this.#template === null) {
      throw new TextError("Cannot render the chat as the model has no chat template", "template");
    }
    if (this.#template instanceof TextError) throw this.#template;
    const text = this.#template.render(toPlainMessages(messages), options);
    return { text, tokenIds: this.encode(text, { addSpecialTokens: false }) };
  }

  /** Text and bytes of each token alone, as it reads in the middle of a text. */
  tokenTexts(tokenIds: readonly number[]): TokenText[] {
    return tokenIds.map((id) => this.#tokenText(id));
  }

  /**
   * Starts a stream of text.
   *
   * @throws {TextError} when a stop string is empty or not valid Unicode.
   */
  openDetokenizer(options: TextStreamOptions = {}): Detokenizer {
    const { stop = [], skipSpecialTokens = true, includeStop = false, minTokens = 0 } = options;
    checkStopStrings(stop);
    return new Detokenizer((ids) => this.decode(ids, { skipSpecialTokens }), {
      stop,
      includeStop,
      minTokens,
      skip: (id) =>
        (skipSpecialTokens && this.#special.has(id)) ||
        this.#tokenizer.id_to_token(id) === undefined,
    });
  }

  #tokenText(id: number): TokenText {
    const token = this.#tokenizer.id_to_token(id);
    if (token === undefined) return { token: "", text: "", bytes: [] };
    // A decoder strips the space before a text's first word: hence a letter before the token.
    const keep = { skipSpecialTokens: false };
    const before = this.#anchor === null ? [] : [this.#anchor];
    const text = this.decode([...before, id], keep).slice(this.decode(before, keep).length);
    if (text.includes("\uFFFD")) {
      const byte = fallbackByte(token);
      const bytes = byte !== null ? [byte] : this.#byteLevel ? byteLevelBytes(token) : null;
      if (bytes !== null) return { token, text, bytes };
    }
    return { token, text, bytes: [...new TextEncoder().encode(text)] };
  }

  /** What the post-processor puts before and after a text. */
  #affixes(): [number[], number[]] {
    const processor = this.#tokenizer.post_processor;
    if (processor === null) return [[], []];
    const { tokens } = processor.post_process([BODY], null, true);
    const at = tokens.indexOf(BODY);
    const ids = tokens.map((token) => {
      const id = token === BODY ? -1 : this.#tokenizer.token_to_id(token);
      if (id === undefined) {
        throw new TextError(
          `Cannot use the post-processor as its token is not in the vocabulary: ${token}`,
          "load",
        );
      }
      return id;
    });
    return [ids.slice(0, at), ids.slice(at + 1)];
  }
}

/** `add_bos_token` and `add_eos_token`, where given, override the post-processor. */
function affix(ids: readonly number[], token: number | null, wanted: unknown): readonly number[] {
  if (token === null || typeof wanted !== "boolean" || ids.includes(token) === wanted) return ids;
  return wanted ? [token, ...ids] : ids.filter((id) => id !== token);
}

/** The merges are most of a tokenizer's load time and memory, and only encoding uses them. */
function dropMerges(tokenizer: TokenizerFiles["tokenizer"]): void {
  const model = tokenizer.model as Record<string, unknown>;
  if (Array.isArray(model.merges)) model.merges = [];
}

/** A template that does not parse must not keep a model from serving completions: told when used. */
function compile(files: TokenizerFiles): ChatTemplate | TextError | null {
  if (files.chatTemplate === null) return null;
  try {
    return new ChatTemplate(files.chatTemplate, files.specialTokens);
  } catch (error) {
    return new TextError(`${messageOf(error)} (${files.chatTemplateFile})`, "template", {
      cause: error,
    });
  }
}
