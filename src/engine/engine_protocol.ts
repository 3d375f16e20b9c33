/**
 * Messages between an engine's client and the thread that schedules for it.
 * @module
 */
import type { EngineConfig } from "./engine_config.ts";
import type { SchedulerOutput, SchedulerRequest } from "./scheduler.ts";
import type { EngineStats } from "./types.ts";

/** From the client to the engine thread. */
export type EngineCommand =
  | { readonly type: "start"; readonly config: EngineConfig }
  | { readonly type: "add"; readonly request: SchedulerRequest }
  | { readonly type: "abort"; readonly id: number }
  | { readonly type: "stop" };

/** From the engine thread to the client. */
export type EngineEvent =
  | { readonly type: "loading"; readonly fraction: number }
  | {
    readonly type: "ready";
    readonly stats: EngineStats;
    readonly backend: Readonly<Record<string, string | number>>;
    readonly pids: readonly number[];
  }
  | {
    readonly type: "progress";
    readonly outputs: readonly SchedulerOutput[];
    readonly stats: EngineStats;
  }
  | {
    readonly type: "rejected";
    readonly id: number | string;
    readonly message: string;
    readonly param: string | null;
  }
  | { readonly type: "dead"; readonly reason: string }
  | { readonly type: "stopped" };
