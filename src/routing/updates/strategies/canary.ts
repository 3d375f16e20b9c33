/**
 * A share of the traffic first.
 * @module
 */
import { ConnectionSplit, RequestSplit } from "../../traffic_split.ts";
import { CanaryJudge, type CanaryLimits } from "../canary_judge.ts";
import { UpdateError } from "../errors.ts";
import type { UpdateRun } from "../update_run.ts";
import { forEachAtOnce } from "../waiting.ts";
import { GRACE_MS, type UpdateStrategy } from "./strategy.ts";

/** Options of {@linkcode CanaryStrategy}. */
export interface CanaryOptions extends Partial<CanaryLimits> {
  /** Share of the requests that the new weights get: between 0 and 1. Default 0.1. */
  readonly share?: number;
  /** Time that requests of a replica have to end, in milliseconds. Default 600000. */
  readonly graceMs?: number;
}

/** How often the canaries are looked at, in milliseconds. */
const LOOK_MS = 100;

/**
 * As many replicas as the share asks for get the new weights, and that share of the requests. When they have failed no
 * more of them than the others, and were not slower, the other replicas follow one after the other.
 */
export class CanaryStrategy implements UpdateStrategy {
  /** See {@linkcode UpdateStrategy.name}. */
  readonly name = "canary";
  /** See {@linkcode UpdateStrategy.minReplicas}. */
  readonly minReplicas = 2;
  /** See {@linkcode UpdateStrategy.rollbackWidth}. */
  readonly rollbackWidth = 1;
  /** See {@linkcode UpdateStrategy.keepMs}. */
  readonly keepMs = 0;
  readonly #share: number;
  readonly #graceMs: number;
  readonly #limits: CanaryLimits;

  /** Without parameters that must be given. */
  constructor({ share = 0.1, graceMs = GRACE_MS, ...limits }: CanaryOptions = {}) {
    this.#share = share;
    this.#graceMs = graceMs;
    this.#limits = {
      durationMs: limits.durationMs ?? 60_000,
      minRequests: limits.minRequests ?? 100,
      timeoutMs: limits.timeoutMs ?? 3_600_000,
      maxErrorRate: limits.maxErrorRate ?? 0.01,
      maxLatencyRatio: limits.maxLatencyRatio ?? 2,
    };
  }

  /** See {@linkcode UpdateStrategy.run}. */
  async run(run: UpdateRun): Promise<void> {
    const { replicas } = run;
    const count = Math.round(this.#share * replicas.length);
    const canaries = Math.max(1, Math.min(count, replicas.length - 1));
    run.fleet.divide(new RequestSplit(run.fresh, this.#share));
    for (const replica of replicas.slice(0, canaries)) {
      await run.replaceAside(replica, this.#graceMs);
    }
    await this.#observe(run);
    run.fleet.divide(new ConnectionSplit(run.fresh));
    await forEachAtOnce(
      replicas.slice(canaries),
      this.rollbackWidth,
      (replica) => run.replaceAside(replica, this.#graceMs),
    );
  }

  async #observe(run: UpdateRun): Promise<void> {
    const { fleet, fresh, log } = run;
    const judge = new CanaryJudge(this.#limits);
    using _outcomes = fleet.observe((id, outcome) =>
      judge.add(fresh.has(id) ? "fresh" : "stable", outcome)
    );
    log.add("observing", { message: `${this.#share} of the requests go to ${names(fresh)}` });
    const started = performance.now();
    while (true) {
      const verdict = judge.verdict(performance.now() - started);
      if (typeof verdict === "object") throw rejected(verdict.reject, names(fresh));
      // Only then: one that failed requests may be ejected by now, and that it failed them says more.
      for (const id of fresh) if (!fleet.serves(id)) throw rejected(`${id} does not serve`, id);
      if (verdict === "promote") break;
      await run.pass(LOOK_MS);
    }
    log.add("promoted", { message: judge.summary });
  }
}

function names(ids: ReadonlySet<string>): string {
  return [...ids].join(", ");
}

function rejected(reason: string, replica: string): UpdateError {
  const message = `Cannot promote the new weights as ${reason}`;
  return new UpdateError(message, { reason: "failed", replica });
}
