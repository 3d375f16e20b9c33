/**
 * What a server tells of its requests, in its log.
 * @module
 */
import type { RequestRecord } from "../serving/request_log.ts";
import type { Logger } from "./log.ts";

/** Options of a server. */
export interface RequestLogging {
  /** Logs an unexpected error, with the request that met it. */
  readonly onError: (error: unknown, requestId?: string) => void;
  /** Logs a request that was answered. */
  readonly onRequest?: (record: RequestRecord) => void;
}

/** An unexpected error, and where it came from. */
export function stackOf(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

/** Logs errors, and with `--enable-log-requests` every request. */
export function requestLogging(
  values: { readonly "enable-log-requests": boolean },
  log: Logger,
): RequestLogging {
  return {
    onError: (error, requestId) => {
      log.error(stackOf(error), requestId === undefined ? {} : { request_id: requestId });
    },
    onRequest: values["enable-log-requests"]
      ? ({ requestId, method, path, status, seconds }) =>
        log.info("answered", {
          request_id: requestId,
          method,
          path,
          status,
          seconds: Number(seconds.toFixed(4)),
        })
      : undefined,
  };
}
