/**
 * The loop of a rank: plans in, results out.
 * @module
 */
import type { RankChannel } from "../../distributed/rank_channel.ts";
import { DeviceTimeoutError } from "../../tensor/errors.ts";
import type { ModelRunner } from "./model_runner.ts";
import type { PendingStep } from "./running_step.ts";
import { PlanDecoder } from "../plan_decoder.ts";
import { ResultEncoder } from "../step_codec.ts";
import type { SequenceResult, StepPlan } from "../step_plan.ts";

/** Options of {@linkcode RankLoop}. */
export interface RankLoopOptions {
  /** Where plans come from and results go. */
  readonly channel: RankChannel;
  /** What runs them. */
  readonly runner: ModelRunner;
  /** Whether this is the rank that sends results. */
  readonly reports: boolean;
  /** Deadline of a step, and of the leader's taking its result, in milliseconds. */
  readonly timeoutMs: number;
}

/** How often an idle rank looks up from its wait, in milliseconds. */
const IDLE_WAIT_MS = 1000;

/** How often a rank whose device is busy looks for results, in milliseconds. */
const BUSY_WAIT_MS = 0.02;

/**
 * Starts plans as they come, in their order, and reports each as soon as its results are there. While a
 * device is busy with one step the next is queued behind it; on the CPU a step has ended when it was
 * started, and is reported before anything else.
 */
export class RankLoop {
  readonly #options: RankLoopOptions;
  readonly #plans = new PlanDecoder();
  readonly #results = new ResultEncoder();
  readonly #pending: PendingStep[] = [];
  /** When the oldest pending step was first waited for, by `performance.now`; null when it was not. */
  #waitingSince: number | null = null;

  /** The loop of one rank. */
  constructor(options: RankLoopOptions) {
    this.#options = options;
  }

  /** Runs until the leader publishes an empty plan, and then until every step has been reported. */
  run(): void {
    for (let plan = this.#next(); plan !== null; plan = this.#next()) {
      this.#pending.push(this.#options.runner.start(plan));
    }
    while (this.#pending.length > 0) this.#finishOldest();
  }

  /** The next plan, or null at the end; what is done in the meantime is reported. */
  #next(): StepPlan | null {
    const { channel } = this.#options;
    for (;;) {
      while (this.#pending.length > 0 && this.#pending[0].isReady()) this.#finishOldest();
      const busy = this.#pending.length > 0;
      if (busy) this.#checkDeadline();
      const length = channel.readNext(busy ? BUSY_WAIT_MS : IDLE_WAIT_MS);
      if (length !== null) return length === 0 ? null : this.#plans.decode(channel.plan, length);
    }
  }

  #checkDeadline(): void {
    const { timeoutMs } = this.#options;
    this.#waitingSince ??= performance.now();
    if (performance.now() - this.#waitingSince <= timeoutMs) return;
    throw new DeviceTimeoutError(`step ${this.#pending[0].step}`, timeoutMs);
  }

  #finishOldest(): void {
    const oldest = this.#pending[0];
    // Unlike shift(), this keeps the array's memory for the next step.
    this.#pending.copyWithin(0, 1).pop();
    const results = oldest.finish();
    if (results && this.#options.reports) this.#report(oldest.step, results);
    this.#waitingSince = null;
  }

  /** The tokens first, for the ranks that wait for them; then the whole result for the leader. */
  #report(step: number, sequences: readonly SequenceResult[]): void {
    const { channel, timeoutMs } = this.#options;
    channel.postTokens(step, sequences);
    channel.sendResult(this.#results.encode(step, sequences), timeoutMs);
  }
}
