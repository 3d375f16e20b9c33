/**
 * What streaming and other fields ask of each other.
 * @module
 */
import type { z } from "@hono/zod-openapi";

interface StreamFields {
  readonly stream?: boolean | null;
  readonly stream_options?: {
    readonly include_usage?: boolean | null;
    readonly continuous_usage_stats?: boolean | null;
  } | null;
  readonly prompt_logprobs?: number | null;
}

/** Refuses what would be ignored: `stream_options` without `stream`, `prompt_logprobs` with it. */
export function refineStreamOptions(request: StreamFields, context: z.RefinementCtx): void {
  const refuse = (path: string[], message: string): void =>
    context.addIssue({ code: "custom", path, message });
  const { stream, stream_options: options, prompt_logprobs } = request;
  if (options !== undefined && options !== null && stream !== true) {
    refuse(["stream_options"], "it needs stream to be true");
  } else if (options?.continuous_usage_stats === true && options.include_usage !== true) {
    refuse(["stream_options", "continuous_usage_stats"], "it needs include_usage to be true");
  }
  if (stream === true && prompt_logprobs !== undefined && prompt_logprobs !== null) {
    refuse(["prompt_logprobs"], "it cannot be streamed");
  }
}
