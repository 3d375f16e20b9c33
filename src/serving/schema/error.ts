/**
 * Answers as the OpenAPI document describes them.
 * @module
 */
import { z } from "@hono/zod-openapi";

/** The body of every error answer. */
const errorSchema = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
}).openapi("Error");

const error = { "application/json": { schema: errorSchema } };

/** Error answers of the admin routes for weights. */
export const weightErrors = {
  400: {
    description: "The request is wrong, or the folder is not what it must be",
    content: error,
  },
  409: { description: "Other weights are prepared or kept, or there are none", content: error },
  413: { description: "The body is too large", content: error },
  415: { description: "The content type is not JSON", content: error },
  500: { description: "The weights were not taken; the old ones serve", content: error },
  503: { description: "The engine is dead", content: error },
  507: { description: "The weights do not fit the memory", content: error },
} as const;

/** Error answers of the generating routes. */
export const generationErrors = {
  400: { description: "The request is wrong; `param` names the field", content: error },
  404: { description: "The model is not served here", content: error },
  413: { description: "The body is too large", content: error },
  415: { description: "The body is not JSON", content: error },
  429: { description: "Too many requests are queued", content: error },
  503: { description: "No engine can serve, or the server is draining", content: error },
  504: { description: "The answer had not begun by X-Request-Timeout, in seconds", content: error },
} as const;
