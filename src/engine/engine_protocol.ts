/**
 * Messages between an engine's client and the thread that schedules for it.
 * @module
 */
import type { HostChannelHandle } from "../distributed/host_channel_layout.ts";
import type { EngineConfig } from "./engine_config.ts";
import type { OutputBatch } from "./output_batch.ts";
import type { SchedulerRequest } from "./scheduler/scheduler.ts";

/** From the client to the engine thread. */
export type EngineCommand =
  | {
    readonly type: "start";
    readonly config: EngineConfig;
    /** Memory of {@linkcode SharedStats}. */
    readonly stats: SharedArrayBuffer;
    /** Memory that all ranks share, where they compute through WebAssembly. */
    readonly wasmMemory?: WebAssembly.Memory;
  }
  | { readonly type: "add"; readonly request: SchedulerRequest }
  | { readonly type: "abort"; readonly id: number }
  /** Plan nothing until `go`; `held` answers with the same number. */
  | { readonly type: "hold"; readonly hold: number }
  | { readonly type: "go" }
  | { readonly type: "stop" };

/**
 * From the engine thread to the client. First the channel, with which the client launches the ranks (a
 * worker of a worker takes half a second longer to start); then loading, ready, and outputs until the end.
 */
export type EngineEvent =
  | { readonly type: "channel"; readonly handle: HostChannelHandle }
  | { readonly type: "loading"; readonly fraction: number }
  | {
    readonly type: "ready";
    /** Positions that a request may take, now that the size of the cache is known. */
    readonly maxModelLen: number;
    readonly backend: Readonly<Record<string, string | number>>;
  }
  | { readonly type: "outputs"; readonly batch: OutputBatch }
  | {
    readonly type: "rejected";
    readonly id: number | string;
    readonly message: string;
    readonly param: string | null;
  }
  /** No step is under way, and none will be until `go`. */
  | { readonly type: "held"; readonly hold: number }
  | { readonly type: "dead"; readonly reason: string }
  | { readonly type: "stopped" };
