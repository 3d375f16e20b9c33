/**
 * One update, as those see it who asked for it.
 * @module
 */
import { messageOf, UpdateError } from "./errors.ts";
import type { UpdateSource } from "./updatable_replica.ts";
import { UpdateLog } from "./update_log.ts";

/** `failed`, `cancelled` and `reverted` mean that the old weights serve. */
export type UpdateState =
  | "running"
  | "rolling-back"
  | "succeeded"
  | "failed"
  | "cancelled"
  | "reverted";

/** Events that an update keeps. */
const MAX_EVENTS = 1000;

/** One update. */
export class ModelUpdate {
  /** Names it. */
  readonly id: string;
  /** Name of its strategy. */
  readonly strategy: string;
  /** When it began, in milliseconds since 1970. */
  readonly startedAt: number = Date.now();
  /** What happened so far. */
  readonly log: UpdateLog = new UpdateLog(MAX_EVENTS);
  /** Resolves when it has ended, well or not. */
  readonly ended: Promise<void>;
  readonly #end = Promise.withResolvers<void>();
  #source: UpdateSource;
  #state: UpdateState = "running";
  #error: UpdateError | null = null;
  #kept = false;
  #endedAt: number | null = null;

  /** Has begun. */
  constructor(id: string, options: { readonly strategy: string; readonly source: UpdateSource }) {
    this.id = id;
    this.strategy = options.strategy;
    this.#source = options.source;
    this.ended = this.#end.promise;
    this.log.add("started", { message: `${options.strategy} update to ${options.source.model}` });
  }

  /** The new weights; their version once it is known. */
  get source(): UpdateSource {
    return this.#source;
  }

  /** How far it is. */
  get state(): UpdateState {
    return this.#state;
  }

  /** Why the old weights serve; null unless it has failed. */
  get error(): UpdateError | null {
    return this.#error;
  }

  /** Whether the old weights are still loaded, so that {@linkcode ModelUpdateManager.revert} takes no time. */
  get kept(): boolean {
    return this.#kept;
  }

  /** When it ended, in milliseconds since 1970; null while it runs. */
  get endedAt(): number | null {
    return this.#endedAt;
  }

  /** The new weights serve. */
  succeed(source: UpdateSource, { kept }: { readonly kept: boolean }): void {
    this.#source = source;
    this.#kept = kept;
    this.#close("succeeded", `all replicas serve ${source.version ?? source.model}`);
  }

  /** Something failed; the old weights come back. */
  rollBack(cause: unknown): void {
    this.#error = cause instanceof UpdateError
      ? cause
      : new UpdateError(messageOf(cause), { reason: "failed", cause });
    this.#state = "rolling-back";
    const replica = this.#error.replica ?? undefined;
    this.log.add("warning", { replica, message: this.#error.message });
  }

  /** The old weights are back, but for replicas that are still out. */
  fail(unrestored: readonly string[]): void {
    const { message, reason } = this.#error!;
    const rest = unrestored.length === 0 ? "" : `; not restored yet: ${unrestored.join(", ")}`;
    const state = reason === "cancelled" ? "cancelled" : "failed";
    this.#close(state, `${message}: the old weights serve${rest}`);
  }

  /** Somebody switched back after it had succeeded. */
  revert(unrestored: readonly string[]): void {
    const rest = unrestored.length === 0 ? "" : `; not restored yet: ${unrestored.join(", ")}`;
    this.#kept = false;
    this.#close("reverted", `the old weights serve again${rest}`);
  }

  /** The old weights are gone. */
  release(): void {
    this.#kept = false;
    this.log.add("released", { message: "the old weights are no longer loaded" });
  }

  #close(state: Exclude<UpdateState, "running" | "rolling-back">, message: string): void {
    this.#state = state;
    this.#endedAt = Date.now();
    this.log.add(state, { replica: this.#error?.replica ?? undefined, message });
    this.log.close();
    this.#end.resolve();
  }
}
