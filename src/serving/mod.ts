/**
 * The OpenAI-compatible server: an app that can be served or mounted, and the router over replicas.
 *
 * @example
 * ```ts
 * import { createServer } from "@weft/weft/server";
 * import { LlmEngine, TextProcessor } from "@weft/weft";
 * import { Hono } from "hono";
 * await using replica = await LlmEngine.load({ model: "models/demo" });
 * using text = await TextProcessor.load("models/demo");
 * const app = new Hono();
 * app.route("/llm", createServer({ replica, text, modelName: "demo" }));
 * await Deno.serve(app.fetch).finished; // engine and tokenizer end with this block
 * ```
 * @module
 */
export {
  EngineDeadError,
  type EngineInfo,
  type EngineStats,
  type FinishReason,
  type GenerateRequest,
  type GenerationChunk,
  type Replica,
  type SamplingParams,
  type TokenLogprob,
  UnsupportedRequestError,
} from "../engine/types.ts";
export {
  type LoadedWeights,
  type PauseMode,
  type UpdatableWeights,
  WeightsError,
  type WeightsErrorReason,
  type WeightsFolder,
  type WeightsStatus,
} from "../engine/weights.ts";
export type { ChatContentPart, ChatMessage } from "../text/chat_message.ts";
export type { RenderChatOptions } from "../text/chat_template.ts";
export type { TokenText } from "../text/token_bytes.ts";
export type {
  BalancingPolicy,
  ReplicaLoad,
  RoutedOutcome,
  RoutedRequest,
} from "../routing/balancing_policy.ts";
export { LeastLoadedPolicy } from "../routing/policies/least_loaded.ts";
export { type PeakEwmaOptions, PeakEwmaPolicy } from "../routing/policies/peak_ewma.ts";
export { type PowerOfTwoOptions, PowerOfTwoPolicy } from "../routing/policies/power_of_two.ts";
export { type PrefixAwareOptions, PrefixAwarePolicy } from "../routing/policies/prefix_aware.ts";
export { RoundRobinPolicy } from "../routing/policies/round_robin.ts";
export { SessionAffinityPolicy } from "../routing/policies/session_affinity.ts";
export { WeightedRoundRobinPolicy } from "../routing/policies/weighted_round_robin.ts";
export { prefixHashes } from "../routing/prefix_hash.ts";
export type { ApiKeys } from "./authentication.ts";
export type { KeyLimitOptions } from "./key_limits.ts";
export { HttpListener, listen, type ListenOptions } from "./listen.ts";
export { type Dispatch, ReplicaRouter, type ReplicaRouterOptions } from "./replica_router.ts";
export { RequestGate, type RequestGateOptions } from "./request_gate.ts";
export type { RequestRecord } from "./request_log.ts";
export { createServer, type ServerApp, type ServerOptions } from "./server.ts";
export type { TextService } from "./text_service.ts";
export type { MemberOptions, MemberState } from "../routing/member.ts";
export type { MemberStatus } from "../routing/member_status.ts";
export type { OutlierOptions } from "../routing/outlier_detector.ts";
export type { OutlierEjectionOptions } from "../routing/outlier_ejection.ts";
export type { BodyLimits } from "./request_body.ts";
export type { ForwardDeadlines } from "./router/forward.ts";
export {
  HttpReplica,
  type HttpReplicaOptions,
  type UpstreamRequest,
} from "./router/http_replica.ts";
export {
  listenRouter,
  type ListenRouterOptions,
  type RouterListener,
} from "./router/listen_router.ts";
export type { JoinOptions } from "./router/replica_registry.ts";
export { RouterServer, type RouterServerOptions } from "./router/router_server.ts";
export type { ResultOrder } from "./batch/map_in_window.ts";
export {
  type BatchFailure,
  type BatchGeneration,
  type BatchProgress,
  type BatchResult,
  runBatch,
  type RunBatchOptions,
} from "./batch/run_batch.ts";
export type { ConnectionInfo } from "./connection_info.ts";
export type { OutcomeListener } from "../routing/replica_pool.ts";
export type { Side, SplitContext, TrafficSplit } from "../routing/traffic_split.ts";
export type { CanaryLimits } from "../routing/updates/canary_judge.ts";
export { UpdateError, type UpdateErrorReason } from "../routing/updates/errors.ts";
export type { GoldenPrompt } from "../routing/updates/golden_prompts.ts";
export { ModelUpdate, type UpdateState } from "../routing/updates/model_update.ts";
export {
  ModelUpdateManager,
  type ModelUpdateManagerOptions,
  type UpdateRequest,
} from "../routing/updates/model_update_manager.ts";
export {
  type BlueGreenOptions,
  BlueGreenStrategy,
} from "../routing/updates/strategies/blue_green.ts";
export { type CanaryOptions, CanaryStrategy } from "../routing/updates/strategies/canary.ts";
export { type RollingOptions, RollingStrategy } from "../routing/updates/strategies/rolling.ts";
export type { UpdateStrategy } from "../routing/updates/strategies/strategy.ts";
export {
  type SynchronousOptions,
  SynchronousStrategy,
} from "../routing/updates/strategies/synchronous.ts";
export type {
  ReplicaWeights,
  ReplicaWeightsStatus,
  UpdatableReplica,
  UpdateSource,
} from "../routing/updates/updatable_replica.ts";
export type { UpdateFleet } from "../routing/updates/update_fleet.ts";
export {
  type UpdateEvent,
  type UpdateEventDetails,
  type UpdateEventType,
  UpdateLog,
} from "../routing/updates/update_log.ts";
export { UpdateRun, type UpdateRunOptions } from "../routing/updates/update_run.ts";
export { EngineFleet } from "./updates/engine_fleet.ts";
