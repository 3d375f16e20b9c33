/**
 * The ranks of one launch: how the failure of one ends the others, and what is reported.
 * @module
 */
import type { AbortFlag } from "../native/shared_memory.ts";
import type { RankGroup } from "./launcher.ts";
import type { RankHandle } from "./rank_handle.ts";
import type { RankOutcome } from "./rank_runner.ts";

/** How long ranks have to end by themselves after an abort, in milliseconds. */
const GRACE_PERIOD_MS = 2000;

/** The ranks of one launch. */
export class LaunchedRanks<Result> implements RankGroup<Result> {
  /** See {@linkcode RankGroup.results}. */
  readonly results: Promise<Result[]>;
  /** See {@linkcode RankGroup.failed}. */
  readonly failed: Promise<{ rank: number; reason: string }>;
  /** See {@linkcode RankGroup.pids}. */
  readonly pids: readonly number[];
  readonly #handles: readonly RankHandle[];
  readonly #abortFlag: AbortFlag;
  readonly #reportFailure: (failure: { rank: number; reason: string }) => void;
  #graceTimer: ReturnType<typeof setTimeout> | null = null;
  #ended = false;

  /** Follows started ranks; calls `release` when all have ended. */
  constructor(handles: readonly RankHandle[], abortFlag: AbortFlag, release: () => void) {
    this.#handles = handles;
    this.#abortFlag = abortFlag;
    this.pids = handles.map((handle) => handle.pid).filter((pid) => pid !== null);
    const { promise, resolve } = Promise.withResolvers<{ rank: number; reason: string }>();
    this.failed = promise;
    this.#reportFailure = resolve;
    const outcomes = Promise.all(handles.map((handle, rank) => this.#follow(handle, rank)));
    this.results = outcomes.then((outcomes) => {
      this.#ended = true;
      if (this.#graceTimer !== null) clearTimeout(this.#graceTimer);
      release();
      return this.#collect(outcomes);
    });
    // Whoever looks only at `failed` has not asked for the results.
    this.results.catch(() => {});
  }

  /** See {@linkcode RankGroup.abort}. */
  abort(reason: string): void {
    if (this.#ended) return;
    this.#abortFlag.raise(reason, -1);
    this.#graceTimer ??= setTimeout(() => this.#kill(), GRACE_PERIOD_MS);
  }

  async #follow(handle: RankHandle, rank: number): Promise<RankOutcome> {
    const outcome = await handle.outcome;
    if (!outcome.ok) {
      // Whoever raised the flag first is the cause; the others failed because of it.
      this.#abortFlag.raise(outcome.reason, rank);
      this.#reportFailure(this.#cause(rank, outcome.reason));
      this.abort(outcome.reason);
    }
    await handle.ended;
    return outcome;
  }

  #cause(rank: number, reason: string): { rank: number; reason: string } {
    const first = this.#abortFlag.reason;
    return first === null || first.rank < 0
      ? { rank, reason }
      : { rank: first.rank, reason: first.text };
  }

  async #collect(outcomes: readonly RankOutcome[]): Promise<Result[]> {
    if (outcomes.every((outcome) => outcome.ok)) {
      return outcomes.map((outcome) => outcome.result as Result);
    }
    const { rank, reason } = await this.failed;
    const outcome = outcomes[rank];
    const cause = new Error(reason);
    if (!outcome.ok && outcome.stack !== undefined) cause.stack = outcome.stack;
    throw new Error(`Cannot complete the launch as rank ${rank} failed: ${reason}`, { cause });
  }

  #kill(): void {
    for (const handle of this.#handles) handle.kill();
  }

  /** Kills what still runs and waits until nothing does. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.abort("the launch was disposed");
    if (!this.#ended) this.#kill();
    await Promise.all(this.#handles.map((handle) => handle.ended));
    await this.results.catch(() => {});
  }
}
