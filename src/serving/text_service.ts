/**
 * What the server asks of a tokenizer and chat template. `TextProcessor` of src/text is one.
 * @module
 */
import type { ChatMessage } from "../text/chat_message.ts";
import type { RenderChatOptions } from "../text/chat_template.ts";
import type { TokenText } from "../text/token_bytes.ts";

/** Turns text into tokens and back, off the server's thread. Failures are `TextError`s. */
export interface TextService {
  /** Token ids of a text, with the tokens that the model expects around a text unless told not to. */
  encode(
    text: string,
    options?: { readonly addSpecialTokens?: boolean },
  ): Promise<readonly number[]>;
  /** The conversation as the model's chat template writes it, and its token ids. */
  renderChat(
    messages: readonly ChatMessage[],
    options?: RenderChatOptions,
  ): Promise<{ readonly text: string; readonly tokenIds: readonly number[] }>;
  /** Text and bytes of each token by itself. */
  tokenTexts(tokenIds: readonly number[]): Promise<readonly TokenText[]>;
  /** The text of a token sequence, by default without special tokens. */
  decode(
    tokenIds: readonly number[],
    options?: { readonly skipSpecialTokens?: boolean },
  ): Promise<string>;
}
