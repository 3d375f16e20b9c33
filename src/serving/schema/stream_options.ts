/**
 * What `stream_options` depends on.
 * @module
 */
import type { z } from "@hono/zod-openapi";

/** Refuses `stream_options` without `stream`, where it would be ignored. */
export function refineStreamOptions(
  request: { readonly stream?: boolean | null; readonly stream_options?: unknown },
  context: z.RefinementCtx,
): void {
  if (request.stream_options === undefined || request.stream_options === null) return;
  if (request.stream === true) return;
  context.addIssue({
    code: "custom",
    path: ["stream_options"],
    message: "it needs stream to be true",
  });
}
