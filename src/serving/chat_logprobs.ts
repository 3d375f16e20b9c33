/**
 * Log-probabilities as chat completions show them: one object a token.
 * @module
 */
import type { TokenLogprob } from "../engine/types.ts";
import type { TextService } from "./text_service.ts";
import { finiteLogprob, nameOf, nameTokens } from "./token_names.ts";

/** A token of a chat answer with its log-probability. */
export interface ChatToken {
  /** Its text. */
  readonly token: string;
  /** Its natural-log probability. */
  readonly logprob: number;
  /** Its bytes: a token may be part of a character. */
  readonly bytes: readonly number[];
}

/** An entry of `choices[].logprobs.content`. */
export interface ChatTokenLogprob extends ChatToken {
  /** The most likely tokens at its place, descending. */
  readonly top_logprobs: readonly ChatToken[];
}

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
