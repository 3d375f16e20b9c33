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
import { ResultDecoder } from "./result_decoder.ts";
import { maxPlanBytes, PlanEncoder } from "./step_codec.ts";
import type { StepPlan, StepResult } from "./step_plan.ts";

/** The leader's end of the channel to ranks on this machine, threads or processes. */
export class RankExecutor implements Executor {
  /** See {@linkcode Executor.failed}. */
  readonly failed: Promise<string>;
  readonly #channel: HostChannel;
  readonly #plans = new PlanEncoder();
  readonly #results = new ResultDecoder();
  readonly #fail: (reason: string) => void;

  /** Makes the channel that the ranks are to be launched with. */
  constructor(config: EngineConfig, wasmMemory?: WebAssembly.Memory) {
    const plansInFlight = config.pipelineParallelSize + config.lookahead;
    this.#channel = HostChannel.create({
      ranks: config.tensorParallelSize * config.pipelineParallelSize,
      plansInFlight,
      maxPlanBytes: maxPlanBytes({ ...config, vocabSize: config.modelConfig.vocabSize }),
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
    return JSON.parse(report) as RankReport;
  }

  /** See {@linkcode Executor.execute}. */
  execute(plan: StepPlan): void {
    this.#channel.publish(this.#plans.encode(plan, this.#channel.nextPlan()));
  }

  /** See {@linkcode Executor.receive}. */
  async receive(take: (result: StepResult) => void): Promise<void> {
    try {
      await this.#channel.receive((bytes) => take(this.#results.decode(bytes)));
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
  }

  /** Tells the ranks to end after the plans under way, and closes the leader's end. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#channel.abortReason === null) this.#channel.publish(0);
    await this.#channel[Symbol.asyncDispose]();
  }
}
