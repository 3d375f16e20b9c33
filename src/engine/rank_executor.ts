/**
 * Drives an engine's ranks over a host channel.
 * @module
 */
import { HostChannel } from "../distributed/host_channel.ts";
import type { HostChannelHandle } from "../distributed/host_channel_layout.ts";
import type { EngineConfig } from "./engine_config.ts";
import { RANK_TIMEOUT_MS } from "./engine_ranks.ts";
import type { Executor } from "./executor.ts";
import type { RankReport } from "./rank/rank_engine.ts";
import { decodeResult, encodePlan, maxPlanBytes } from "./step_codec.ts";
import type { StepHandle, StepPlan, StepResult } from "./step_plan.ts";

interface PendingStep {
  readonly step: number;
  readonly resolve: (result: StepResult) => void;
  readonly reject: (error: Error) => void;
}

/** The leader's end of the channel to ranks on this machine, threads or processes. */
export class RankExecutor implements Executor {
  /** See {@linkcode Executor.failed}. */
  readonly failed: Promise<string>;
  readonly #channel: HostChannel;
  readonly #planBuffer: Uint8Array;
  readonly #pending: PendingStep[] = [];
  readonly #fail: (reason: string) => void;

  /** Makes the channel that the ranks are to be launched with. */
  constructor(config: EngineConfig, wasmMemory?: WebAssembly.Memory) {
    const plansInFlight = config.pipelineParallelSize + config.lookahead;
    this.#planBuffer = new Uint8Array(maxPlanBytes(config));
    this.#channel = HostChannel.create({
      ranks: config.tensorParallelSize * config.pipelineParallelSize,
      plansInFlight,
      maxPlanBytes: this.#planBuffer.byteLength,
      // A plan names a step at most `plansInFlight` before it; twice as many stay for a rank that lags.
      boardSteps: 2 * plansInFlight,
      boardSlots: config.maxNumSeqs,
    }, wasmMemory);
    const { promise, resolve } = Promise.withResolvers<string>();
    this.failed = promise;
    this.#fail = resolve;
  }

  /** What the ranks need to open the channel. */
  get handle(): HostChannelHandle {
    return this.#channel.handle;
  }

  /** Resolves with the first rank's report when all have loaded their parts; rejects when one cannot. */
  async waitUntilReady(onProgress: (fraction: number) => void): Promise<RankReport> {
    const [report] = await this.#channel.waitUntilReady({ timeoutMs: RANK_TIMEOUT_MS, onProgress });
    this.#receive();
    return JSON.parse(report) as RankReport;
  }

  /** See {@linkcode Executor.execute}. */
  execute(plan: StepPlan): StepHandle {
    const { promise, resolve, reject } = Promise.withResolvers<StepResult>();
    const { step } = plan;
    this.#pending.push({ step, resolve, reject });
    this.#channel.publish(this.#planBuffer.subarray(0, encodePlan(plan, this.#planBuffer)));
    return { step, tokens: () => promise };
  }

  /** Hands every result that arrives to the oldest step under way. */
  async #receive(): Promise<void> {
    try {
      for (;;) {
        const bytes = await this.#channel.next();
        if (bytes === null) return;
        const result = decodeResult(bytes);
        const oldest = this.#pending.shift();
        if (oldest?.step !== result.step) {
          throw new Error(`Cannot use a result of step ${result.step}: ${oldest?.step} is next`);
        }
        oldest.resolve(result);
      }
    } catch (error) {
      this.#stop(this.#abortReason() ?? String(error));
    }
  }

  #abortReason(): string | null {
    const reason = this.#channel.abortReason;
    if (reason === null) return null;
    return reason.rank < 0 ? reason.text : `rank ${reason.rank} failed: ${reason.text}`;
  }

  #stop(reason: string): void {
    this.#channel.abort(reason);
    this.#fail(reason);
    for (const { reject } of this.#pending.splice(0)) reject(new Error(reason));
  }

  /** Tells the ranks to end after the plans under way, and closes the leader's end. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#channel.abortReason === null) this.#channel.publish(new Uint8Array(0));
    await this.#channel[Symbol.asyncDispose]();
  }
}
