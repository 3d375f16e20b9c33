/**
 * Messages of a conversation, as the chat completions API spells them.
 * @module
 */
import { TextError } from "./text_error.ts";

/** One part of a message's content; only `text` parts are supported. */
export interface ChatContentPart {
  /** Kind of the part. */
  readonly type: string;
  /** The text of a `text` part. */
  readonly text?: string;
}

/** A message of a conversation. */
export interface ChatMessage {
  /** Who speaks: `system`, `user`, `assistant`, or whatever the template knows. */
  readonly role: string;
  /** Text, or a list of text parts, which are joined by line feeds. */
  readonly content: string | readonly ChatContentPart[];
  /** Name of the speaker, for templates that use it. */
  readonly name?: string;
}

/** A message whose content is one string, as templates expect it. */
export interface PlainChatMessage {
  /** Who speaks. */
  readonly role: string;
  /** The whole text. */
  readonly content: string;
  /** Name of the speaker. */
  readonly name?: string;
}

/**
 * Checks messages and joins the text parts of each.
 *
 * @throws {TextError} when a message has another shape or a part that is not text.
 */
export function toPlainMessages(messages: readonly ChatMessage[]): PlainChatMessage[] {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new TextError("Cannot render the chat as it has no messages", "input");
  }
  return messages.map((message, index) => {
    if (typeof message?.role !== "string") {
      throw new TextError(`Cannot render message ${index} as its role is not a string`, "input");
    }
    const { role, name } = message;
    const content = joinContent(message.content, index);
    return name === undefined ? { role, content } : { role, content, name };
  });
}

function joinContent(content: ChatMessage["content"], index: number): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) {
    throw new TextError(
      `Cannot render message ${index} as its content is neither text nor a list of parts`,
      "input",
    );
  }
  return content.map((part) => {
    if (part?.type !== "text" || typeof part.text !== "string") {
      throw new TextError(
        `Cannot render message ${index} as only text parts are supported: part type is ${
          JSON.stringify(part?.type)
        }`,
        "input",
      );
    }
    return part.text;
  }).join("\n");
}
