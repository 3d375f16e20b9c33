/**
 * Streams of text on the decoding worker, and what it takes to restore them.
 * @module
 */
import type { TextDelta } from "./detokenizer.ts";
import { TextError } from "./text_error.ts";
import { checkStopStrings } from "./stop_matcher.ts";
import type { TextStreamOptions } from "./text_model.ts";
import type { TextCall } from "./text_protocol.ts";
import type { WorkerChannel } from "./worker_channel.ts";

/** Turns the tokens of one generation into text as they come. */
export interface TextStream extends Disposable {
  /**
   * Gives the next tokens and gets the text that they complete; `last` also gets what was held
   * back. Pushes may overlap; they are answered in order. After a stop string the text stays
   * empty. Rejects with a TextError after `last` or `close()`.
   */
  push(tokenIds: readonly number[], last: boolean): Promise<TextDelta>;
  /** Forgets the stream; to be called when a generation ends early. Calling it again has no effect. */
  close(): void;
}

/** The open streams of a processor. */
export class TextStreamRegistry {
  readonly #open = new Map<number, ChannelTextStream>();
  #next = 0;

  /**
   * Opens a stream on `channel`.
   *
   * @throws {TextError} when a stop string cannot be searched for.
   */
  open(channel: WorkerChannel, options: TextStreamOptions): TextStream {
    checkStopStrings(options.stop ?? []);
    const number = this.#next++;
    const stream = new ChannelTextStream(channel, number, {
      options: { ...options, stop: [...options.stop ?? []] },
      onRelease: () => this.#open.delete(number),
    });
    this.#open.set(number, stream);
    return stream;
  }

  /** Calls that open the streams anew, each after the tokens it has answered. */
  restoreCalls(): TextCall[] {
    return [...this.#open.values()].map((stream) => stream.restoreCall())
      .filter((call) => call !== null);
  }
}

class ChannelTextStream implements TextStream {
  readonly #channel: WorkerChannel;
  readonly #number: number;
  readonly #options: TextStreamOptions;
  readonly #onRelease: () => void;
  /** Tokens whose text was delivered: a fresh worker needs them. */
  readonly #history: number[] = [];
  #opened = false;
  #stopped = false;
  #ended = false;
  #released = false;

  constructor(
    channel: WorkerChannel,
    number: number,
    { options, onRelease }: {
      readonly options: TextStreamOptions;
      readonly onRelease: () => void;
    },
  ) {
    this.#channel = channel;
    this.#number = number;
    this.#options = options;
    this.#onRelease = onRelease;
  }

  async push(tokenIds: readonly number[], last: boolean): Promise<TextDelta> {
    if (this.#stopped) return NOTHING;
    if (this.#ended) throw new TextError("The text stream has ended", "closed");
    const tokens = [...tokenIds];
    this.#ended = last;
    this.#open();
    try {
      const delta = await this.#channel.call<TextDelta>({
        kind: "push",
        stream: this.#number,
        tokenIds: tokens,
        last,
      });
      for (const token of tokens) this.#history.push(token);
      this.#stopped ||= delta.stop !== null;
      if (this.#stopped || last) this.#release();
      return delta;
    } catch (error) {
      // A push that was under way behind the one that found the stop string has no text.
      if (this.#stopped) return NOTHING;
      this.#ended = true;
      this.#release();
      throw error;
    }
  }

  close(): void {
    this.#ended = true;
    this.#release();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  restoreCall(): TextCall | null {
    return this.#opened ? this.#openCall() : null;
  }

  /** The history goes along as it is when the message is sent, so sending it again is harmless. */
  #openCall(): TextCall {
    return {
      kind: "openStream",
      stream: this.#number,
      options: this.#options,
      history: this.#history,
    };
  }

  #open(): void {
    if (this.#opened) return;
    this.#opened = true;
    // When it fails so does the push behind it, which tells the caller.
    this.#channel.call(this.#openCall()).catch(() => {});
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#onRelease();
    // When it fails the worker is gone, and the stream with it.
    if (this.#opened) {
      this.#channel.call({ kind: "closeStream", stream: this.#number }).catch(() => {});
    }
  }
}

const NOTHING: TextDelta = { text: "", stop: null };
