/**
 * Launchers start the ranks of a group and hand each its communicator.
 * @module
 */
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
}

/** Running ranks. Disposing kills what still runs. */
export interface RankGroup<Result = unknown> extends AsyncDisposable {
  /** Resolves with every rank's result in rank order; rejects with the first failure, after the others have stopped. */
  readonly results: Promise<Result[]>;
  /** Resolves with a reason as soon as a rank has failed or died; stays pending otherwise. */
  readonly failed: Promise<{ rank: number; reason: string }>;
  /** Process ids of the ranks (`process` launcher), for tests and diagnostics. */
  readonly pids: readonly number[];
  /** Aborts all communication; ranks end with an error. Kills processes that have not ended after a grace period. */
  abort(reason: string): void;
}
