/**
 * The `prompt` of a completion: text, token ids, or a list of either.
 * @module
 */
import { z } from "@hono/zod-openapi";
import { MAX_PROMPTS } from "./limits.ts";

/** One prompt as it was sent. */
export type PromptInput = string | readonly number[];

/** Parses every form into a list; the choices of the answer follow its order. */
export const promptSchema = z.unknown()
  .transform((value, context): readonly PromptInput[] => {
    const prompts = parsePrompts(value);
    if (typeof prompts !== "string") return prompts;
    context.addIssue({ code: "custom", message: prompts });
    return z.NEVER;
  })
  .openapi({
    description: "Text, token ids, or a list of either; a list gives one choice each.",
    anyOf: [
      { type: "string" },
      { type: "array", items: { type: "integer", minimum: 0 } },
      { type: "array", items: { type: "string" } },
      { type: "array", items: { type: "array", items: { type: "integer", minimum: 0 } } },
    ],
  });

/** The prompts, or what is wrong with them. */
function parsePrompts(value: unknown): readonly PromptInput[] | string {
  if (typeof value === "string") return checkText(value) ?? [value];
  if (!Array.isArray(value)) return "it must be text, token ids, or a list of either";
  if (value.length === 0) return "it is empty";
  if (typeof value[0] === "number") return checkIds(value) ?? [value];
  if (value.length > MAX_PROMPTS) {
    return `it has more than ${MAX_PROMPTS} entries: ${value.length}`;
  }
  if (value.every((entry) => typeof entry === "string")) {
    for (const entry of value) {
      const problem = checkText(entry);
      if (problem !== null) return problem;
    }
    return value;
  }
  if (value.every((entry) => Array.isArray(entry))) {
    for (const entry of value) {
      const problem = checkIds(entry);
      if (problem !== null) return problem;
    }
    return value;
  }
  return "a list must hold only texts, only token ids, or only lists of token ids";
}

function checkText(text: string): string | null {
  return text.isWellFormed() ? null : "it holds half of a surrogate pair";
}

function checkIds(ids: readonly unknown[]): string | null {
  if (ids.length === 0) return "it is empty";
  const wrong = ids.find((id) => !Number.isSafeInteger(id) || (id as number) < 0);
  return wrong === undefined ? null : `a token id is not a count: ${JSON.stringify(wrong)}`;
}
