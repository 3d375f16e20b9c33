/**
 * Messages between {@linkcode WorkerChannel} and `text_worker.ts`.
 * @module
 */
import type { ChatMessage } from "./chat_message.ts";
import type { RenderChatOptions } from "./chat_template.ts";
import type { TextInfo, TextModelOptions, TextStreamOptions } from "./text_model.ts";
import type { TextErrorReason } from "./text_error.ts";

/** Characters of one text when nothing else is asked for. */
export const DEFAULT_MAX_INPUT_CHARACTERS = 1 << 20;

/** One call to the worker. */
export type TextCall =
  | { readonly kind: "encode"; readonly text: string; readonly addSpecialTokens: boolean }
  | {
    readonly kind: "renderChat";
    readonly messages: readonly ChatMessage[];
    readonly options: RenderChatOptions;
  }
  | {
    readonly kind: "decode";
    readonly tokenIds: readonly number[];
    readonly skipSpecialTokens: boolean;
  }
  | { readonly kind: "tokenTexts"; readonly tokenIds: readonly number[] }
  | {
    readonly kind: "openStream";
    readonly stream: number;
    readonly options: TextStreamOptions;
    /** Tokens whose text was delivered before the worker was replaced. */
    readonly history: readonly number[];
  }
  | {
    readonly kind: "push";
    readonly stream: number;
    readonly tokenIds: readonly number[];
    readonly last: boolean;
  }
  | { readonly kind: "closeStream"; readonly stream: number };

/** An error as it crosses the worker's boundary. */
export interface WireError {
  /** Sentence for people. */
  readonly message: string;
  /** Kind of the failure. */
  readonly reason: TextErrorReason;
}

/** What one call gave. */
export type CallResult = { readonly value: unknown } | { readonly error: WireError };

/** Load a folder (first message), or run calls in order. */
export type ToTextWorker =
  | { readonly load: { readonly folder: string; readonly options: TextModelOptions } }
  | { readonly calls: readonly TextCall[] };

/** Answer to a message: one for each. */
export type FromTextWorker =
  | { readonly loaded: TextInfo }
  | { readonly failed: WireError }
  | { readonly results: readonly CallResult[] };
