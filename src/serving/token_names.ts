/**
 * How tokens are written in log-probabilities.
 * @module
 */
import type { TokenLogprob } from "../engine/types.ts";
import type { TokenText } from "../text/token_bytes.ts";
import type { TextService } from "./text_service.ts";

/** Texts and bytes of tokens, looked up by id. */
export type TokenNames = ReadonlyMap<number, TokenText>;

/** Names of every token in `entries`; without a tokenizer a token is called `token_id:ID`. */
export async function nameTokens(
  text: TextService | null,
  entries: readonly (TokenLogprob | null)[],
  others: readonly number[] = [],
): Promise<TokenNames> {
  const ids = new Set(others);
  for (const entry of entries) {
    if (entry === null) continue;
    ids.add(entry.tokenId);
    for (const [id] of entry.top) ids.add(id);
  }
  const list = [...ids];
  const texts = text === null ? list.map(numbered) : await text.tokenTexts(list);
  return new Map(list.map((id, index) => [id, texts[index]]));
}

/** Name of a token that {@linkcode nameTokens} has looked up. */
export function nameOf(names: TokenNames, id: number): TokenText {
  return names.get(id) ?? numbered(id);
}

/** A log-probability that JSON can hold: -9999 stands for minus infinity, as in OpenAI's API. */
export function finiteLogprob(logprob: number): number {
  return Math.max(logprob, -9999);
}

function numbered(id: number): TokenText {
  const text = `token_id:${id}`;
  return { token: text, text, bytes: [...new TextEncoder().encode(text)] };
}
