/**
 * What every route of one server shares.
 * @module
 */
import type { UpdatableWeights } from "../engine/weights.ts";
import { ApiError } from "./api_error.ts";
import type { ServerMetrics } from "./metrics.ts";
import type { ReplicaRouter } from "./replica_router.ts";
import type { BodyLimits } from "./request_body.ts";
import type { RequestGate } from "./request_gate.ts";
import type { RequestLog } from "./request_log.ts";
import type { TextService } from "./text_service.ts";

/** Limits of requests and answers. */
export interface ServerLimits extends BodyLimits {
  /** Time that a streaming client may leave an event unread, in milliseconds. */
  readonly stallTimeoutMs: number;
}

/** What every route of one server shares. */
export interface ServerContext {
  /** Where requests go. */
  readonly router: ReplicaRouter;
  /** Tokenizer and chat template; null when the model has none. */
  readonly text: TextService | null;
  /** Names of the model; answers bear the first. */
  readonly modelNames: readonly [string, ...string[]];
  /** When the server was made, in seconds since 1970. */
  readonly created: number;
  /** Weights that the admin routes change; null where nothing does. */
  readonly weights: UpdatableWeights | null;
  /** Names the backend's configuration and the weights: equal fingerprints mean reproducible answers. */
  readonly systemFingerprint: (weightVersion: string) => string;
  /** Admission of generation requests, of all keys together. */
  readonly gate: RequestGate;
  /**
   * Lets a generation request in until what is returned is disposed; throws ApiError (429 for too many, of all or of
   * one key, 503 draining).
   */
  readonly enter: (request: Request) => Disposable;
  /** Names of requests. */
  readonly requests: RequestLog;
  /** Counters. */
  readonly metrics: ServerMetrics;
  /** Limits of requests and answers. */
  readonly limits: ServerLimits;
  /** Receives unexpected errors, which clients see as a 500 without details, and the requests that met them. */
  readonly onError: (error: unknown, requestId?: string) => void;
}

/** Throws ApiError 404 when another model is asked for; no name asks for the only one. */
export function checkModel(context: ServerContext, model: string | null | undefined): void {
  if (model === null || model === undefined || context.modelNames.includes(model)) return;
  throw new ApiError(
    `Cannot find the model: ${JSON.stringify(model.slice(0, 200))} (served here: ${
      context.modelNames.join(", ")
    })`,
    { status: 404, param: "model", code: "model_not_found" },
  );
}
