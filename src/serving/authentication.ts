/**
 * Bearer-token authentication.
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Env, Hono } from "hono";
import { ApiError } from "./api_error.ts";

/** Keys that requests must bring as `Authorization: Bearer KEY`. */
export interface ApiKeys {
  /** Asked of every request; where there are several, one of them. */
  readonly apiKey?: string | readonly string[];
  /** Asked of requests below `/admin` instead. */
  readonly adminApiKey?: string;
}

/** Tells whose key a request has brought. */
export interface KeyHolders {
  /** Number of the key among all; 0 where none is asked for. */
  keyOf(request: Request): number;
}

/**
 * Makes every request to `app` bring its key: the admin key below `/admin` where there is one, an API key
 * otherwise, none where there is neither. To be called before routes are added. Throws RangeError when a key is
 * not printable ASCII without spaces, or the list of keys is empty.
 */
export function requireApiKeys<E extends Env>(
  app: Hono<E>,
  { apiKey, adminApiKey }: ApiKeys,
): KeyHolders {
  // The path of an app that is mounted in another one begins with that one's: only routing tells admin requests.
  const admins = new WeakSet<Request>();
  const keys = new WeakMap<Request, number>();
  if (adminApiKey !== undefined) {
    const verify = verifier([adminApiKey], "admin API key");
    app.use("/admin/*", async (c, next) => {
      verify(c.req.header("authorization"));
      admins.add(c.req.raw);
      await next();
    });
  }
  if (apiKey !== undefined) {
    const verify = verifier([apiKey].flat(), "API key");
    app.use(async (c, next) => {
      const { raw } = c.req;
      if (!admins.has(raw)) keys.set(raw, verify(c.req.header("authorization")));
      await next();
    });
  }
  return { keyOf: (request) => keys.get(request) ?? 0 };
}

/**
 * Tells the number of the key that a header brings; throws ApiError 401 when it is none of `keys`. Digests are
 * compared, each time with all keys, so that the time taken says nothing about them, their lengths included.
 */
function verifier(
  keys: readonly string[],
  name: string,
): (authorization: string | undefined) => number {
  // What else a key may hold, clients and servers encode and trim in different ways.
  if (keys.length === 0 || keys.some((key) => !/^[\x21-\x7e]+$/.test(key))) {
    throw new RangeError(
      `Cannot protect the server as the ${name} must be printable ASCII without spaces`,
    );
  }
  const expected = keys.map(digest);
  return (authorization = "") => {
    const match = /^Bearer +(.*)$/i.exec(authorization);
    const given = digest(match?.[1].trim() ?? "");
    let found = -1;
    expected.forEach((key, index) => {
      if (timingSafeEqual(given, key)) found = index;
    });
    if (match !== null && found >= 0) return found;
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
