/**
 * From a conversation as it was sent to the prompt that the model's template makes of it.
 * @module
 */
import type { ChatMessage } from "../text/chat_message.ts";
import { badRequest } from "./api_error.ts";
import { blamingText, type Prompt } from "./prompts.ts";
import type { ChatRequest } from "./schema/chat_request.ts";
import type { ServerContext } from "./server_context.ts";

/** What decides the prompt. */
export type ChatPromptFields = Pick<
  ChatRequest,
  "messages" | "add_generation_prompt" | "continue_final_message" | "chat_template_kwargs"
>;

/** Renders and tokenizes a conversation; throws ApiError 400 that blames `messages`. */
export async function renderChatPrompt(
  context: ServerContext,
  fields: ChatPromptFields,
): Promise<Prompt> {
  const { text } = context;
  if (text === null) {
    throw badRequest(
      "Cannot render the messages as the model has no tokenizer: use /v1/completions with token ids",
      "messages",
    );
  }
  const continueFinalMessage = fields.continue_final_message === true;
  return await blamingText("messages", () =>
    text.renderChat(fields.messages.map(toChatMessage), {
      addGenerationPrompt: fields.add_generation_prompt ?? !continueFinalMessage,
      continueFinalMessage,
      templateVariables: fields.chat_template_kwargs ?? {},
    }));
}

/** Models are trained on `system`; `developer` is OpenAI's newer name for the same role. */
function toChatMessage(message: ChatRequest["messages"][number]): ChatMessage {
  const role = message.role === "developer" ? "system" : message.role;
  const name = "name" in message ? message.name : null;
  return { role, content: message.content, ...typeof name === "string" ? { name } : {} };
}
