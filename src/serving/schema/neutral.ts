/**
 * Fields of the OpenAI and vLLM APIs that are not implemented yet.
 * @module
 */
import { z } from "@hono/zod-openapi";

/**
 * A field that is accepted when it is absent, null, or one of `values`, which ask for what happens
 * anyway. Any other value is refused by name, so that no request is served as something else.
 */
export function neutral(...values: readonly unknown[]): z.ZodType<unknown> {
  const allowed = new Set([null, ...values].map((value) => JSON.stringify(value)));
  const named = values.length === 0
    ? "null"
    : values.map((value) => JSON.stringify(value)).join(" or ");
  return z.unknown().optional().superRefine((value, context) => {
    if (value === undefined || allowed.has(JSON.stringify(value))) return;
    context.addIssue({
      code: "custom",
      message: `only ${named} is supported so far: current value is ${
        abbreviate(JSON.stringify(value))
      }`,
    });
  }).openapi({
    description: "Not implemented yet: accepted at a neutral value only.",
    enum: [null, ...values],
  });
}

function abbreviate(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 80)}...`;
}
