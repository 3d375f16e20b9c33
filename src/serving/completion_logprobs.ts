/**
 * Log-probabilities as completions show them: parallel lists, one entry a token.
 * @module
 */
import type { TokenLogprob } from "../engine/types.ts";
import type { CompletionLogprobs } from "./schema/completion_response.ts";
import type { TextService } from "./text_service.ts";
import { finiteLogprob, nameOf, nameTokens, type TokenNames } from "./token_names.ts";

/** A token and what is known of it; `logprob` is null where nothing comes before. */
export interface ScoredToken {
  readonly tokenId: number;
  readonly logprob: TokenLogprob | null;
}

/** An empty list, for {@linkcode appendLogprobs}. */
export function emptyLogprobs(): CompletionLogprobs {
  return { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
}

/** Formats tokens whose texts begin at `offset`; `end` is where the last one ends. */
export async function completionLogprobs(
  text: TextService | null,
  scored: readonly ScoredToken[],
  offset: number,
): Promise<{ readonly logprobs: CompletionLogprobs; readonly end: number }> {
  const logprobs = emptyLogprobs();
  const names = await nameTokens(
    text,
    scored.map((token) => token.logprob),
    scored.map((token) => token.tokenId),
  );
  let end = offset;
  for (const { tokenId, logprob } of scored) {
    const name = nameOf(names, tokenId).text;
    logprobs.tokens.push(name);
    logprobs.text_offset.push(end);
    logprobs.token_logprobs.push(logprob === null ? null : finiteLogprob(logprob.logprob));
    logprobs.top_logprobs.push(logprob === null ? null : topOf(logprob, names));
    end += name.length;
  }
  return { logprobs, end };
}

/** Adds the entries of `more` to `to`. */
export function appendLogprobs(to: CompletionLogprobs, more: CompletionLogprobs): void {
  // One by one: spreading a long prompt into push() would overflow the stack.
  for (let i = 0; i < more.tokens.length; i++) {
    to.tokens.push(more.tokens[i]);
    to.token_logprobs.push(more.token_logprobs[i]);
    to.top_logprobs.push(more.top_logprobs[i]);
    to.text_offset.push(more.text_offset[i]);
  }
}

function topOf(entry: TokenLogprob, names: TokenNames): Record<string, number> {
  const top = new Map<string, number>();
  // Different tokens may read the same (halves of a character): the more likely one is shown.
  for (const [id, logprob] of [...entry.top, [entry.tokenId, entry.logprob] as const]) {
    const name = nameOf(names, id).text;
    if (!top.has(name)) top.set(name, finiteLogprob(logprob));
  }
  return Object.fromEntries(top);
}
