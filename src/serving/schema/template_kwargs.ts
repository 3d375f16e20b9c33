/**
 * `chat_template_kwargs`: values for the chat template.
 * @module
 */
import { z } from "@hono/zod-openapi";
import { MAX_TEMPLATE_DEPTH, MAX_TEMPLATE_LENGTH, MAX_TEMPLATE_VALUES } from "./limits.ts";

/** Names that the request itself decides. */
const RESERVED: ReadonlySet<string> = new Set([
  "messages",
  "tools",
  "documents",
  "add_generation_prompt",
  "continue_final_message",
  "bos_token",
  "eos_token",
]);

/** A small JSON object: a template could be made to loop over a large one. */
export const templateKwargsSchema = z.record(z.string(), z.unknown())
  .superRefine((kwargs, context) => {
    const reserved = Object.keys(kwargs).find((key) => RESERVED.has(key));
    if (reserved !== undefined) {
      context.addIssue({
        code: "custom",
        path: [reserved],
        message: "the name is reserved",
      });
      return;
    }
    const problem = measure(kwargs);
    if (problem !== null) context.addIssue({ code: "custom", message: problem });
  });

function measure(root: unknown): string | null {
  let values = 0;
  let length = 0;
  const rest: [unknown, number][] = [[root, 0]];
  for (let entry = rest.pop(); entry !== undefined; entry = rest.pop()) {
    const [value, depth] = entry;
    values++;
    if (typeof value === "string") length += value.length;
    if (typeof value === "object" && value !== null) {
      for (const [key, nested] of Object.entries(value)) {
        length += key.length;
        rest.push([nested, depth + 1]);
      }
      if (depth >= MAX_TEMPLATE_DEPTH) {
        return `it is nested deeper than ${MAX_TEMPLATE_DEPTH} levels`;
      }
    }
    if (values + rest.length > MAX_TEMPLATE_VALUES) {
      return `it holds more than ${MAX_TEMPLATE_VALUES} values`;
    }
    if (length > MAX_TEMPLATE_LENGTH) {
      return `its texts are longer than ${MAX_TEMPLATE_LENGTH} code units`;
    }
  }
  return null;
}
