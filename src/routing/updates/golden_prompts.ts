/**
 * Prompts that weights must answer before they serve.
 * @module
 */
import { UpdateError } from "./errors.ts";
import type { UpdatableReplica } from "./updatable_replica.ts";

/** A prompt whose greedy answer is known, or must at least exist. */
export interface GoldenPrompt {
  /** Token ids. */
  readonly prompt: readonly number[];
  /** Tokens to generate: at least one, and as many as are expected. */
  readonly maxTokens: number;
  /** How the answer begins; without it any answer will do. */
  readonly expected?: readonly number[];
}

/** What is asked when nobody names a prompt: weights that compute no numbers fail already at this. */
export const SMALLEST_PROMPT: GoldenPrompt = { prompt: [1], maxTokens: 1 };

/** Lets a replica answer `prompts` from a set of its weights; throws UpdateError (failed) at a wrong answer. */
export async function checkGolden(
  replica: UpdatableReplica,
  set: "current" | "prepared",
  prompts: readonly GoldenPrompt[],
): Promise<void> {
  for (const [maxTokens, group] of Map.groupBy(prompts, ({ maxTokens }) => maxTokens)) {
    const answers = await replica.check(set, group.map(({ prompt }) => prompt), maxTokens);
    group.forEach((golden, index) => {
      const answer = answers[index] ?? [];
      const { expected = answer } = golden;
      const right = answer.length > 0 && expected.every((token, at) => token === answer[at]);
      if (right) return;
      const number = prompts.indexOf(golden) + 1;
      throw new UpdateError(
        `Cannot serve the weights as golden prompt ${number} is answered otherwise by ${replica.id}: ` +
          `expected ${abridged(golden.expected ?? ["a token"])}, got ${abridged(answer)}`,
        { reason: "failed", replica: replica.id },
      );
    });
  }
}

function abridged(tokens: readonly (number | string)[]): string {
  if (tokens.length === 0) return "nothing";
  return tokens.slice(0, 16).join(" ") + (tokens.length > 16 ? " ..." : "");
}
