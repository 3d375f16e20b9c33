/**
 * Drives an engine's ranks over a host channel.
 * @module
 */
import { HostChannel } from "../distributed/host_channel.ts";
import { launchRanks } from "../distributed/launch_ranks.ts";
import type { RankGroup } from "../distributed/launcher.ts";
import { Checkpoint } from "../models/checkpoint.ts";
import { openDevice } from "../tensor/open_device.ts";
import type { EngineConfig } from "./engine_config.ts";
import type { Executor } from "./executor.ts";
import type { RankArguments } from "./rank_main.ts";
import { decodeResult, encodePlan, maxPlanBytes } from "./step_codec.ts";
import type { StepHandle, StepPlan, StepResult } from "./step_plan.ts";

/** Plans beyond the pipeline's stages that may be under way: a rank finds its next plan waiting. */
export const LOOKAHEAD = 1;

/**
 * Deadline of whatever a rank does that depends on others. A step of a large model on few cores takes
 * minutes; a rank that has died is noticed at once by its launcher, not by this.
 */
const TIMEOUT_MS = 600_000;
const SPIN_MICROSECONDS = 50;
const MIN_CHANNEL_BYTES = 64 << 10;
const MAX_CHANNEL_BYTES = 64 << 20;

interface PendingStep {
  readonly step: number;
  readonly resolve: (result: StepResult) => void;
  readonly reject: (error: Error) => void;
}

/** Ranks on this machine, as threads or as processes. */
export class RankExecutor implements Executor {
  /** See {@linkcode Executor.failed}. */
  readonly failed: Promise<string>;
  /** Device, instruction set, layout and communicator, for people. */
  readonly backend: Readonly<Record<string, string | number>>;
  readonly #channel: HostChannel;
  readonly #ranks: RankGroup<void>;
  readonly #planBuffer: Uint8Array;
  readonly #pending: PendingStep[] = [];
  readonly #fail: (reason: string) => void;

  private constructor(
    config: EngineConfig,
    channel: HostChannel,
    ranks: RankGroup<void>,
  ) {
    this.#channel = channel;
    this.#ranks = ranks;
    this.#planBuffer = new Uint8Array(maxPlanBytes(config));
    this.backend = describeBackend(config);
    const { promise, resolve } = Promise.withResolvers<string>();
    this.failed = promise;
    this.#fail = resolve;
    ranks.failed.then(({ rank, reason }) => this.#stop(`rank ${rank} failed: ${reason}`));
    this.#receive();
  }

  /**
   * Checks the checkpoint, starts the ranks and waits until all have loaded their part.
   *
   * @throws {ModelLoadError} naming file and tensor when the checkpoint is not what its config says.
   */
  static async start(
    config: EngineConfig,
    options: { onProgress: (fraction: number) => void },
  ): Promise<RankExecutor> {
    {
      using checkpoint = Checkpoint.open(config.model, config.modelConfig);
      checkpoint.verify(config.modelConfig);
    }
    const size = config.tensorParallelSize * config.pipelineParallelSize;
    const plansInFlight = config.pipelineParallelSize + LOOKAHEAD;
    // Ranks that only compute may be a plan behind the one that reports: twice as many slots are safe.
    const slots = 2 * plansInFlight;
    const channel = HostChannel.create({
      ranks: size,
      plansInFlight: slots,
      maxPlanBytes: maxPlanBytes(config),
      boardSteps: slots,
      boardSlots: config.maxNumSeqs,
    });
    const spinMicroseconds = config.spin ? SPIN_MICROSECONDS : 0;
    const args: RankArguments = {
      config,
      channel: channel.handle,
      spinMicroseconds,
      timeoutMs: TIMEOUT_MS,
    };
    let ranks: RankGroup<void> | null = null;
    try {
      ranks = launchRanks<void>(new URL("./rank_main.ts", import.meta.url), {
        size,
        launcher: config.launcher,
        args,
        timeoutMs: TIMEOUT_MS,
        spinMicroseconds,
        channelBytes: channelBytes(config),
        abortMemory: channel.handle.memory,
      });
      const died = ranks.failed.then(({ rank, reason }) => {
        throw new Error(`Cannot start the engine as rank ${rank} failed: ${reason}`);
      });
      const ready = channel.waitUntilReady({
        timeoutMs: TIMEOUT_MS,
        onProgress: options.onProgress,
      });
      await Promise.race([died, ready]);
      return new RankExecutor(config, channel, ranks);
    } catch (error) {
      await ranks?.[Symbol.asyncDispose]();
      await channel[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Process ids of the ranks (launcher `process`). */
  get pids(): readonly number[] {
    return this.#ranks.pids;
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
      this.#stop(error instanceof Error ? error.message : String(error));
    }
  }

  #stop(reason: string): void {
    this.#fail(reason);
    this.#ranks.abort(reason);
    for (const { reject } of this.#pending.splice(0)) reject(new Error(reason));
  }

  /** Lets the ranks finish the plans under way, stops them, and frees the channel. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#channel.abortReason === null) {
      this.#channel.publish(new Uint8Array(0));
      await this.#ranks.results.catch(() => {});
    }
    await this.#ranks[Symbol.asyncDispose]();
    await this.#channel[Symbol.asyncDispose]();
  }
}

/** Room for two of the largest messages between stages, so that a stage can start its next step. */
function channelBytes({ modelConfig, maxNumBatchedTokens }: EngineConfig): number {
  const wanted = 2 * 4 * modelConfig.hiddenSize * maxNumBatchedTokens;
  return Math.min(MAX_CHANNEL_BYTES, Math.max(MIN_CHANNEL_BYTES, wanted));
}

function describeBackend(config: EngineConfig): Readonly<Record<string, string | number>> {
  using device = openDevice({ kind: config.device, threads: config.threads });
  const { kind, name, instructionSet, kernelHash } = device.description;
  const ranks = config.tensorParallelSize * config.pipelineParallelSize;
  return {
    device: kind,
    processor: name,
    instructionSet,
    kernels: kernelHash,
    weights: config.format ?? "as stored",
    layout: `${config.tensorParallelSize} tensor x ${config.pipelineParallelSize} pipeline`,
    communicator: ranks === 1 ? "none" : "shared-memory",
    launcher: config.launcher,
    threadsPerRank: config.threads,
    kvBlocks: config.numBlocks,
    maxModelLen: config.maxModelLen,
  };
}
