/**
 * Reads JSON bodies under a size limit and a deadline.
 * @module
 */
import { ApiError, badRequest } from "./api_error.ts";

/** Far more than any request needs; recursive code is safe on it. */
const MAX_DEPTH = 64;

const [QUOTE, BACKSLASH, OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [...'"\\[]{}'].map(
  (character) => character.charCodeAt(0),
);

/** Limits of {@linkcode readJsonBody}. */
export interface BodyLimits {
  /** Bytes at most. */
  readonly maxBodyBytes: number;
  /** Time until the last byte, in milliseconds. */
  readonly bodyTimeoutMs: number;
}

/**
 * The parsed JSON body. Throws ApiError: 415 for another media type, 413 as soon as the body is
 * known to be too large, 408 when it is too slow, 400 for bad UTF-8 or JSON.
 */
export async function readJsonBody(request: Request, limits: BodyLimits): Promise<unknown> {
  requireJson(request.headers);
  return parseJson(await readBodyBytes(request, limits));
}

/** Like {@linkcode readJsonBody}; without a body the value is an object without fields. */
export async function readOptionalJsonBody(
  request: Request,
  limits: BodyLimits,
): Promise<unknown> {
  requireJson(request.headers);
  const bytes = await readBodyBytes(request, limits);
  return bytes.length === 0 ? {} : parseJson(bytes);
}

function parseJson(bytes: Uint8Array<ArrayBuffer>): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw badRequest("Cannot read the body as it is not valid UTF-8", null, "invalid_utf8");
  }
  if (isDeeperThan(text, MAX_DEPTH)) {
    throw badRequest(
      `Cannot read the body as it is nested deeper than ${MAX_DEPTH} levels`,
      null,
      "invalid_json",
    );
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    // The engine's message gives the position or quotes the text around it.
    throw badRequest(
      `Cannot read the body as it is not valid JSON: ${(error as SyntaxError).message}`,
      null,
      "invalid_json",
    );
  }
}

/** The body as it is; empty where there is none. Throws ApiError: 413, 408, 400, as {@linkcode readJsonBody}. */
export async function readBodyBytes(
  request: Request,
  limits: BodyLimits,
): Promise<Uint8Array<ArrayBuffer>> {
  const declared = Number(request.headers.get("content-length") ?? 0);
  if (declared > limits.maxBodyBytes) throw tooLarge(limits.maxBodyBytes);
  if (request.body === null) return new Uint8Array(0);
  return await readBytes(request.body, { ...limits, expected: declared });
}

/** Whether arrays and objects of a JSON text are nested deeper than `limit`, told before any is built. */
function isDeeperThan(text: string, limit: number): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === BACKSLASH) i++;
      else if (code === QUOTE) inString = false;
    } else if (code === QUOTE) {
      inString = true;
    } else if (code === OPEN_ARRAY || code === OPEN_OBJECT) {
      if (++depth > limit) return true;
    } else if (code === CLOSE_ARRAY || code === CLOSE_OBJECT) {
      depth--;
    }
  }
  return false;
}

/** Throws ApiError 415 unless the content type is JSON in UTF-8, not compressed. */
export function requireJson(headers: Headers): void {
  const type = headers.get("content-type") ?? "";
  const [essence, ...parameters] = type.toLowerCase().split(";").map((part) => part.trim());
  const charset = parameters.find((part) => part.startsWith("charset="));
  const encoding = headers.get("content-encoding")?.trim().toLowerCase() ?? "identity";
  const found = essence !== "application/json"
    ? `content-type ${type === "" ? "absent" : type}`
    : charset !== undefined && !/^charset="?utf-?8"?$/.test(charset)
    ? charset
    : encoding !== "identity"
    ? `content-encoding ${encoding}`
    : null;
  if (found === null) return;
  throw new ApiError(
    `Cannot accept the request as it must bring plain application/json in UTF-8: found ${found}`,
    { status: 415, code: "unsupported_media_type" },
  );
}

async function readBytes(
  body: ReadableStream<Uint8Array>,
  options: BodyLimits & { readonly expected: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(bodyTooLate(options)),
    options.bodyTimeoutMs,
  );
  let buffer = new Uint8Array(options.expected);
  let length = 0;
  try {
    while (true) {
      const { done, value } = await Promise.race([reader.read(), late.promise]);
      if (done) return buffer.subarray(0, length);
      const size = length + value.length;
      if (size > options.maxBodyBytes) throw tooLarge(options.maxBodyBytes);
      if (size > buffer.length) {
        const grown = new Uint8Array(Math.min(options.maxBodyBytes, Math.max(size, 2 * length)));
        grown.set(buffer.subarray(0, length));
        buffer = grown;
      }
      buffer.set(value, length);
      length = size;
    }
  } catch (error) {
    // The rest of the body is of no interest; what cancelling it says is neither.
    reader.cancel().catch(() => {});
    if (error instanceof ApiError) throw error;
    throw badRequest("Cannot read the body as the client stopped sending it", null);
  } finally {
    clearTimeout(timer);
  }
}

function tooLarge(limit: number): ApiError {
  return new ApiError(`Cannot read the body as it is too large: the limit is ${limit} bytes`, {
    status: 413,
    code: "body_too_large",
    headers: { "connection": "close" },
  });
}

/** A body did not arrive within the limits. */
export function bodyTooLate({ bodyTimeoutMs }: BodyLimits): ApiError {
  return new ApiError(`Cannot read the body as it did not arrive in time: ${bodyTimeoutMs} ms`, {
    status: 408,
    code: "body_timeout",
    headers: { "connection": "close" },
  });
}
