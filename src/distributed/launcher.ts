/**
 * Launchers start the ranks of a group and hand each its communicator.
 * @module
 */
import type { SharedMemoryHandle } from "../native/shared_memory.ts";
import type { Communicator } from "./communicator.ts";

/** How ranks are started: a Deno Worker each, or a child process each. */
export type LauncherKind = "thread" | "process";

/** What a rank's entry point receives. */
export interface RankContext<Args = unknown> {
  /** Communicator over all ranks of the launch. */
  readonly world: Communicator;
  /** Which launcher started the rank. */
  readonly launcher: LauncherKind;
  /** Structured data given by the launching side (JSON-compatible). */
  readonly args: Args;
  /** See {@linkcode LaunchOptions.wasmMemory}. */
  readonly wasmMemory?: WebAssembly.Memory;
}

/** An entry module exports this function under the name `rankMain`; its result goes back to the launcher. */
export type RankMain<Args = unknown, Result = unknown> = (
  context: RankContext<Args>,
) => Result | Promise<Result>;

/** Options of {@linkcode launchRanks}. */
export interface LaunchOptions {
  /** Number of ranks. */
  readonly size: number;
  /** `thread` when left out. */
  readonly launcher?: LauncherKind;
  /** Passed to every rank as {@linkcode RankContext.args}; must be JSON-compatible. */
  readonly args?: unknown;
  /** Deadline of each communication, in milliseconds; 60000 when left out. */
  readonly timeoutMs?: number;
  /** Bytes each point-to-point channel buffers; 1 MiB when left out. */
  readonly channelBytes?: number;
  /**
   * How long a wait spins before it sleeps, in microseconds. When left out: 50 if every rank has a core
   * of its own, else 0. Pass 0 when the ranks' threads together outnumber the cores.
   */
  readonly spinMicroseconds?: number;
  /**
   * Region whose abort flag the ranks obey instead of one of their own, such as a host channel's: then
   * aborting either ends both.
   */
  readonly abortMemory?: SharedMemoryHandle;
  /**
   * Memory of the WebAssembly kernels, in which the ranks communicate: then buffers are addresses in it,
   * and no native library is needed. For ranks that are threads.
   */
  readonly wasmMemory?: WebAssembly.Memory;
}

/** Running ranks. Disposing kills what still runs. */
export interface RankGroup<Result = unknown> extends AsyncDisposable {
  /** Resolves with every rank's result in rank order; rejects with the first failure, after the others have stopped. */
  readonly results: Promise<Result[]>;
  /** Resolves with the first rank to fail or die, and why, as soon as it does; stays pending otherwise. */
  readonly failed: Promise<{ rank: number; reason: string }>;
  /** Process ids of the ranks (`process` launcher), for tests and diagnostics. */
  readonly pids: readonly number[];
  /** Aborts all communication; ranks end with an error. Kills processes that have not ended after a grace period. */
  abort(reason: string): void;
}
