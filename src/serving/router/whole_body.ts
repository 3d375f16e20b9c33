/**
 * Reads bodies of requests that are passed on.
 * @module
 */
import type { CoarseTimers } from "../../routing/coarse_timers.ts";
import { badRequest } from "../api_error.ts";
import { type BodyLimits, bodyTooLate, readBodyBytes } from "../request_body.ts";

/**
 * The body as it is, as `readBodyBytes` has it. One whose length is told is read in one piece: no chunk of it
 * passes through a stream. Throws ApiError: 413, 408, 400.
 */
export function readWholeBody(
  request: Request,
  { limits, timers }: { readonly limits: BodyLimits; readonly timers: CoarseTimers },
): Promise<Uint8Array<ArrayBuffer>> {
  const declared = Number(request.headers.get("content-length") ?? NaN);
  if (!(declared <= limits.maxBodyBytes)) return readBodyBytes(request, limits);
  return new Promise((resolve, reject) => {
    const timer = timers.set(() => reject(bodyTooLate(limits)), limits.bodyTimeoutMs);
    // What Node's listener makes of a request has no `bytes`.
    request.arrayBuffer().then((body) => resolve(new Uint8Array(body)), () => {
      reject(badRequest("Cannot read the body as the client stopped sending it", null));
    }).finally(() => timer.clear());
  });
}
