/**
 * Log-probabilities of a prompt's tokens, in vLLM's shape.
 * @module
 */
import type { TokenLogprob } from "../engine/types.ts";
import type { PromptLogprobs } from "./schema/answer_parts.ts";
import type { TextService } from "./text_service.ts";
import { finiteLogprob, nameOf, nameTokens, type TokenNames } from "./token_names.ts";

type TokensAt = NonNullable<PromptLogprobs[number]>;

/** Formats the tokens of a prompt, with the `count` most likely ones at each place. */
export async function formatPromptLogprobs(
  text: TextService | null,
  entries: readonly (TokenLogprob | null)[],
  count: number,
): Promise<PromptLogprobs> {
  const shown = entries.map((entry) => entry && withTop(entry, count));
  const names = await nameTokens(text, shown);
  return shown.map((entry) => entry && tokensAt(entry, names));
}

/** An entry with the `count` most likely tokens only. */
export function withTop(entry: TokenLogprob, count: number): TokenLogprob {
  return entry.top.length <= count ? entry : { ...entry, top: entry.top.slice(0, count) };
}

function tokensAt(
  { tokenId, logprob, top }: TokenLogprob,
  names: TokenNames,
): TokensAt {
  const describe = (id: number, value: number, rank: number | null): TokensAt[string] => ({
    logprob: finiteLogprob(value),
    rank,
    decoded_token: nameOf(names, id).text,
  });
  const tokens = top.map(([id, value], index) => [id, describe(id, value, index + 1)] as const);
  const itself = top.some(([id]) => id === tokenId)
    ? []
    : [[tokenId, describe(tokenId, logprob, null)] as const];
  return Object.fromEntries([...itself, ...tokens]);
}
