/**
 * What requests that change something must look like.
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { requireJson } from "../request_body.ts";

/**
 * Refuses with ApiError 415 a POST, a PATCH, and anything with a body, unless its content type is JSON. A web page
 * can make its visitor's browser send a POST to any address, one on this machine too, but not with this type.
 */
export const jsonOnly: MiddlewareHandler = async (c, next) => {
  const { method, headers } = c.req.raw;
  const hasBody = headers.has("transfer-encoding") || Number(headers.get("content-length")) > 0;
  if (hasBody || method === "POST" || method === "PATCH") requireJson(headers);
  await next();
};
