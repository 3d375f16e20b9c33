/**
 * From zod's issues to errors that name the field.
 * @module
 */
import type { z } from "@hono/zod-openapi";
import { type ApiError, badRequest } from "./api_error.ts";

type Issue = z.core.$ZodIssue;

/** An unknown field's name may be as long as the body. */
const MAX_PATH_LENGTH = 200;

/** The value as `schema` gives it; throws ApiError 400 with the first offending field as `param`. */
export function validate<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw issueError(result.error.issues[0], []);
}

function issueError(issue: Issue, parents: readonly PropertyKey[]): ApiError {
  const path = [...parents, ...issue.path];
  if (issue.code === "unrecognized_keys") {
    const param = formatPath([...path, issue.keys[0]]);
    return badRequest(`Cannot accept ${param} as the field is unknown`, param, "unknown_field");
  }
  if (issue.code === "invalid_union") {
    // The branch that came furthest is the one that was meant.
    const nested = issue.errors.flat().filter((inner) => inner.path.length > 0);
    if (nested.length > 0) {
      return issueError(
        nested.reduce((best, inner) => inner.path.length > best.path.length ? inner : best),
        path,
      );
    }
  }
  const param = path.length === 0 ? null : formatPath(path);
  const reason = issue.code === "custom" || issue.code === "invalid_union"
    ? issue.message
    : `its value is wrong: ${lowerFirst(issue.message.replace(/^Invalid input: /, ""))}`;
  return badRequest(`Cannot accept ${param ?? "the body"} as ${reason}`, param);
}

function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((key) => typeof key === "number" ? `[${key}]` : `.${String(key)}`)
    .join("")
    .replace(/^\./, "")
    .slice(0, MAX_PATH_LENGTH);
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}
