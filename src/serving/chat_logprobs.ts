/**
 * Log-probabilities as chat completions show them: one object a token.
 * @module
 */
import type { TokenLogprob } from "../engine/types.ts";
import type { ChatToken, ChatTokenLogprob } from "./schema/chat_response.ts";
import type { TextService } from "./text_service.ts";
import { finiteLogprob, nameOf, nameTokens } from "./token_names.ts";

/** Formats the tokens of an answer. */
export async function chatLogprobs(
  text: TextService | null,
  entries: readonly TokenLogprob[],
): Promise<ChatTokenLogprob[]> {
  const names = await nameTokens(text, entries);
  const describe = (id: number, logprob: number): ChatToken => {
    const { text, bytes } = nameOf(names, id);
    return { token: text, logprob: finiteLogprob(logprob), bytes };
  };
  return entries.map((entry) => ({
    ...describe(entry.tokenId, entry.logprob),
    top_logprobs: entry.top.map(([id, logprob]) => describe(id, logprob)),
  }));
}
