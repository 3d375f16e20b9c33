/**
 * Bearer-token authentication.
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Env, Hono } from "hono";
import { ApiError } from "./api_error.ts";

/** Keys that requests must bring as `Authorization: Bearer KEY`. */
export interface ApiKeys {
  /** Asked of every request. */
  readonly apiKey?: string;
  /** Asked of requests below `/admin` instead. */
  readonly adminApiKey?: string;
}

/**
 * Makes every request to `app` bring its key: the admin key below `/admin` where there is one, the API key
 * otherwise, none where there is neither. To be called before routes are added. Throws RangeError when a key is
 * not printable ASCII without spaces.
 */
export function requireApiKeys<E extends Env>(
  app: Hono<E>,
  { apiKey, adminApiKey }: ApiKeys,
): void {
  // The path of an app that is mounted in another one begins with that one's: only routing tells admin requests.
  const admins = new WeakSet<Request>();
  if (adminApiKey !== undefined) {
    const verify = verifier(adminApiKey, "admin API key");
    app.use("/admin/*", async (c, next) => {
      verify(c.req.header("authorization"));
      admins.add(c.req.raw);
      await next();
    });
  }
  if (apiKey !== undefined) {
    const verify = verifier(apiKey, "API key");
    app.use(async (c, next) => {
      if (!admins.has(c.req.raw)) verify(c.req.header("authorization"));
      await next();
    });
  }
}

/**
 * Throws ApiError 401 unless a header brings `key`. Digests are compared, so that the time taken says nothing
 * about the key, its length included.
 */
function verifier(key: string, name: string): (authorization: string | undefined) => void {
  // What else a key may hold, clients and servers encode and trim in different ways.
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new RangeError(
      `Cannot protect the server as the ${name} must be printable ASCII without spaces`,
    );
  }
  const expected = digest(key);
  return (authorization = "") => {
    const match = /^Bearer +(.*)$/i.exec(authorization);
    if (match !== null && timingSafeEqual(digest(match[1].trim()), expected)) return;
    throw new ApiError(
      match === null
        ? "Cannot authenticate the request as it has no header: Authorization: Bearer KEY"
        : `Cannot authenticate the request as the ${name} is wrong`,
      { status: 401, code: "invalid_api_key", headers: { "www-authenticate": "Bearer" } },
    );
  };
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text, "utf8").digest();
}
