/**
 * Bodies of the admin routes for updates.
 * @module
 */
import { z } from "zod";
import { WEIGHT_VERSION_PATTERN } from "../../engine/weights.ts";
import { BlueGreenStrategy } from "../../routing/updates/strategies/blue_green.ts";
import { CanaryStrategy } from "../../routing/updates/strategies/canary.ts";
import { RollingStrategy } from "../../routing/updates/strategies/rolling.ts";
import { SynchronousStrategy } from "../../routing/updates/strategies/synchronous.ts";
import type { UpdateRequest } from "../../routing/updates/model_update_manager.ts";
import type { UpdateStrategy } from "../../routing/updates/strategies/strategy.ts";
import { MAX_PROMPTS } from "../schema/limits.ts";

/** Seconds that timers take. */
const seconds = z.number().min(0).max(2_000_000);

const tokens = z.array(z.int32().min(0)).min(1).max(65_536);

const goldenSchema = z.strictObject({
  prompt: tokens,
  expected: tokens.optional(),
  max_tokens: z.int32().min(1).max(65_536).optional(),
});

/** What every strategy takes. The folder and its hash are verified by each replica. */
const common = {
  model: z.string().min(1).max(4096),
  sha256: z.string().regex(/^[0-9a-f]{64}$/i).optional(),
  version: z.string().regex(WEIGHT_VERSION_PATTERN).optional(),
  golden: z.array(goldenSchema).max(MAX_PROMPTS).optional(),
};

/** `POST /admin/updates`: the parameters of another strategy are unknown fields. */
export const updateSchema = z.discriminatedUnion("strategy", [
  z.strictObject({
    ...common,
    strategy: z.literal("synchronous"),
    grace_seconds: seconds.optional(),
  }),
  z.strictObject({
    ...common,
    strategy: z.literal("rolling"),
    grace_seconds: seconds.optional(),
    max_unavailable: z.int32().min(1).optional(),
  }),
  z.strictObject({
    ...common,
    strategy: z.literal("blue-green"),
    keep_seconds: seconds.optional(),
  }),
  z.strictObject({
    ...common,
    strategy: z.literal("canary"),
    grace_seconds: seconds.optional(),
    share: z.number().positive().max(1).optional(),
    duration_seconds: seconds.optional(),
    timeout_seconds: seconds.optional(),
    min_requests: z.int32().min(0).optional(),
    max_error_rate: z.number().min(0).max(1).optional(),
    max_latency_ratio: z.number().positive().optional(),
  }),
]);

/** Tokens that a golden prompt generates when nobody says what is expected. */
const GOLDEN_TOKENS = 16;

/** The update that a body asks for. */
export function toUpdateRequest(body: z.output<typeof updateSchema>): UpdateRequest {
  const { model, sha256, version, golden = [] } = body;
  return {
    strategy: strategyOf(body),
    source: { model, sha256: sha256?.toLowerCase(), version },
    golden: golden.map(({ prompt, expected, max_tokens: maxTokens }) => ({
      prompt,
      expected,
      maxTokens: Math.max(maxTokens ?? expected?.length ?? GOLDEN_TOKENS, expected?.length ?? 1),
    })),
  };
}

function strategyOf(body: z.output<typeof updateSchema>): UpdateStrategy {
  switch (body.strategy) {
    case "synchronous":
      return new SynchronousStrategy({ graceMs: inMilliseconds(body.grace_seconds) });
    case "rolling":
      return new RollingStrategy({
        maxUnavailable: body.max_unavailable,
        graceMs: inMilliseconds(body.grace_seconds),
      });
    case "blue-green":
      return new BlueGreenStrategy({ keepMs: inMilliseconds(body.keep_seconds) });
    case "canary":
      return new CanaryStrategy({
        share: body.share,
        graceMs: inMilliseconds(body.grace_seconds),
        durationMs: inMilliseconds(body.duration_seconds),
        timeoutMs: inMilliseconds(body.timeout_seconds),
        minRequests: body.min_requests,
        maxErrorRate: body.max_error_rate,
        maxLatencyRatio: body.max_latency_ratio,
      });
  }
}

function inMilliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : 1000 * seconds;
}
