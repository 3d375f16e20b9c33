/**
 * Incremental detokenization: text as soon as it is certain, at constant cost per token.
 * @module
 */
import { type StopMatch, StopMatcher } from "./stop_matcher.ts";

/** Turns a run of tokens into text; unfinished UTF-8 shows as U+FFFD at its end. */
export type DecodeTokens = (tokenIds: readonly number[]) => string;

/** A stop string that was found. */
export interface StopHit {
  /** The stop string. */
  readonly stop: string;
  /** How many tokens of this push it took to complete it, at least 0. */
  readonly tokens: number;
}

/** What a push of tokens adds. */
export interface TextDelta {
  /** New text. */
  readonly text: string;
  /** The stop string that ended the text, or null. */
  readonly stop: StopHit | null;
}

const REPLACEMENT = "\uFFFD";
/** A character takes at most 4 bytes, so at most 3 tokens may wait for the rest of one. */
const MAX_UNFINISHED = 3;
/** Tokens without a finished end after which an earlier boundary is searched. */
const LONG_WINDOW = 16;

/**
 * Emits the text of a growing list of tokens. What a token becomes depends on its neighbours
 * (bytes of one character, a space that is stripped at the start), so each push decodes a short
 * window: the tokens that were last emitted, for context, then those still pending. The method is
 * vLLM's, extended by emitting what precedes an unfinished character, and by a bound on the window
 * when a model produces nothing but invalid bytes.
 */
export class IncrementalDecoder {
  readonly #decode: DecodeTokens;
  #window: number[] = [];
  /** Tokens of the window that are context only. */
  #context = 0;
  /** Characters of the context's text. */
  #contextLength = 0;
  /** Text of the window, and how much of it has been emitted. */
  #text = "";
  #emitted = 0;

  /** Uses `decode` for windows. */
  constructor(decode: DecodeTokens) {
    this.#decode = decode;
  }

  /** Takes a token and returns the text that it completes. */
  push(tokenId: number): string {
    this.#window.push(tokenId);
    this.#text = this.#decode(this.#window);
    const settled = settledLength(this.#text);
    const delta = this.#emit(settled);
    const finished = settled === this.#text.length && settled > this.#contextLength;
    if (finished) this.#moveTo(this.#window.length, this.#text.length);
    else if ((this.#window.length - this.#context) % LONG_WINDOW === 0) this.#shorten();
    return delta;
  }

  /** Returns what is still held back: unfinished characters, as U+FFFD. */
  flush(): string {
    return this.#emit(this.#text.length);
  }

  #emit(end: number): string {
    if (end <= this.#emitted) return "";
    const delta = this.#text.slice(this.#emitted, end);
    this.#emitted = end;
    return delta;
  }

  /** Makes the pending tokens before `boundary`, whose text ends at `textEnd`, the new context. */
  #moveTo(boundary: number, textEnd: number): void {
    const contextText = this.#decode(this.#window.slice(this.#context, boundary));
    this.#window = this.#window.slice(this.#context);
    this.#context = boundary - (this.#context);
    this.#contextLength = contextText.length;
    this.#emitted += contextText.length - textEnd;
    this.#text = this.#window.length === this.#context ? contextText : this.#decode(this.#window);
  }

  /** Finds a boundary inside the pending tokens at which text that was emitted ends for good. */
  #shorten(): void {
    for (let boundary = this.#window.length - 1; boundary > this.#context; boundary--) {
      const head = this.#decode(this.#window.slice(0, boundary));
      if (
        head.length <= this.#contextLength || head.length > this.#emitted ||
        !this.#text.startsWith(head)
      ) continue;
      const rest = this.#text.slice(head.length);
      const from = this.#context;
      const context = this.#decode(this.#window.slice(from, boundary));
      if (rest !== "" && this.#decode(this.#window.slice(from)) === context + rest) {
        return this.#moveTo(boundary, head.length);
      }
    }
  }
}

/** Length without the end that further bytes may still change. */
function settledLength(text: string): number {
  let end = text.length;
  while (end > 0 && text.length - end < MAX_UNFINISHED && text[end - 1] === REPLACEMENT) end--;
  return end;
}

/** Options of {@linkcode Detokenizer}. */
export interface DetokenizerOptions {
  /** Texts that end the stream; none of them empty. */
  readonly stop?: readonly string[];
  /** Keep the stop string in the text. Default false. */
  readonly includeStop?: boolean;
  /** Tokens, those that have no text included, before which no stop string ends the stream. Default 0. */
  readonly minTokens?: number;
  /** Tokens that have no text (special ones, say). Default: none. */
  readonly skip?: (tokenId: number) => boolean;
}

/**
 * The text of one generation: incremental decoding, then stop strings. The pieces joined are
 * the text of all tokens, cut at the first stop string.
 */
export class Detokenizer {
  readonly #decoder: IncrementalDecoder;
  readonly #matcher: StopMatcher;
  readonly #skip: (tokenId: number) => boolean;
  readonly #minTokens: number;
  #pushed = 0;
  #stopped = false;

  /** Uses `decode` for windows of tokens. */
  constructor(decode: DecodeTokens, options: DetokenizerOptions = {}) {
    this.#decoder = new IncrementalDecoder(decode);
    this.#matcher = new StopMatcher(options.stop ?? [], { includeStop: options.includeStop });
    this.#skip = options.skip ?? (() => false);
    this.#minTokens = options.minTokens ?? 0;
  }

  /**
   * Takes the next tokens; `last` also emits what is held back. After a stop string tokens are
   * dropped: a pipeline may deliver some that were under way.
   */
  push(tokenIds: readonly number[], last: boolean): TextDelta {
    let text = "";
    if (this.#stopped) return { text, stop: null };
    for (let index = 0; index < tokenIds.length; index++) {
      this.#pushed++;
      if (this.#skip(tokenIds[index])) continue;
      const match = this.#match(this.#decoder.push(tokenIds[index]));
      text += match.text;
      if (match.stop !== null) return this.#stop(text, match.stop, index + 1);
    }
    if (last) {
      const match = this.#match(this.#decoder.flush());
      text += match.text;
      if (match.stop !== null) return this.#stop(text, match.stop, tokenIds.length);
      text += this.#matcher.flush();
    }
    return { text, stop: null };
  }

  #match(text: string): StopMatch {
    return this.#matcher.push(text, { mayStop: this.#pushed > this.#minTokens });
  }

  #stop(text: string, stop: string, tokens: number): TextDelta {
    this.#stopped = true;
    return { text, stop: { stop, tokens } };
  }
}
