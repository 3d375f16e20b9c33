/**
 * Token counters in what a server says of itself.
 * @module
 */
import type { HttpReplica } from "./http_replica.ts";

/** Tokens that a server has computed since it was started. */
export interface TokenCounters {
  /** Of prompts. */
  readonly promptTokens: number;
  /** Generated ones. */
  readonly generationTokens: number;
}

/** Prompt and generation counters of weft and vLLM, and of llama-server. */
const NAMES: readonly (readonly [string, string])[] = [
  ["vllm:prompt_tokens_total", "vllm:generation_tokens_total"],
  ["llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total"],
];

/** The counters in a text of Prometheus' format, summed over engines; null when it has none. */
export function parseTokenCounters(text: string): TokenCounters | null {
  for (const [prompt, generation] of NAMES) {
    const [promptTokens, generationTokens] = [sum(text, prompt), sum(text, generation)];
    if (promptTokens !== null && generationTokens !== null) {
      return { promptTokens, generationTokens };
    }
  }
  return null;
}

/** Asks a replica for its counters; null when it has none. Rejects when it can't be reached. */
export async function readTokenCounters(
  replica: HttpReplica,
  signal: AbortSignal,
): Promise<TokenCounters | null> {
  const response = await replica.get("/metrics", signal);
  const text = await response.text();
  return response.ok ? parseTokenCounters(text) : null;
}

function sum(text: string, name: string): number | null {
  let total: number | null = null;
  for (const [, value] of text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)`, "gm"))) {
    total = (total ?? 0) + Number(value);
  }
  return total !== null && Number.isFinite(total) ? total : null;
}
