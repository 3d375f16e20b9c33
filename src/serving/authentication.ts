/**
 * Bearer-token authentication.
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { ApiError } from "./api_error.ts";

/**
 * Middleware that asks every request for `Authorization: Bearer <apiKey>`. Digests are compared,
 * so that the time taken says nothing about the key, its length included.
 */
export function requireApiKey(apiKey: string): MiddlewareHandler {
  const expected = digest(apiKey);
  return async (c, next) => {
    const match = /^Bearer +(.*)$/i.exec(c.req.header("authorization") ?? "");
    if (match === null || !timingSafeEqual(digest(match[1].trim()), expected)) {
      throw new ApiError(
        match === null
          ? "Cannot authenticate the request as it has no header: Authorization: Bearer KEY"
          : "Cannot authenticate the request as the API key is wrong",
        { status: 401, code: "invalid_api_key", headers: { "www-authenticate": "Bearer" } },
      );
    }
    await next();
  };
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text, "utf8").digest();
}
