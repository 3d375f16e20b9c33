/**
 * What every rank of an engine does: build its part of the model, then run plans until told to stop.
 * @module
 */
import type { Communicator } from "../distributed/communicator.ts";
import { createDeviceMesh, type DeviceMesh } from "../distributed/device_mesh.ts";
import type { HostChannelHandle } from "../distributed/host_channel_layout.ts";
import type { RankContext } from "../distributed/launcher.ts";
import { RankChannel } from "../distributed/rank_channel.ts";
import { Checkpoint } from "../models/checkpoint.ts";
import type { CausalLm } from "../models/causal_lm.ts";
import { DummyWeights } from "../models/dummy_weights.ts";
import { loadModel } from "../models/load_model.ts";
import type { Device } from "../tensor/device.ts";
import { openDevice } from "../tensor/open_device.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { EngineConfig } from "./engine_config.ts";
import { ModelRunner } from "./model_runner.ts";
import { RankLoop } from "./rank_loop.ts";
import { Sampler } from "./sampler.ts";

/** What the leader tells each rank. */
export interface RankArguments {
  /** The engine's settled options. */
  readonly config: EngineConfig;
  /** Where plans come from and results go. */
  readonly channel: HostChannelHandle;
  /** How long a wait spins before it sleeps, in microseconds. */
  readonly spinMicroseconds: number;
  /** Deadline of whatever depends on other ranks, in milliseconds. */
  readonly timeoutMs: number;
}

/** Bytes of logits computed at once, at most. */
const MAX_LOGIT_BYTES = 64 << 20;

/** Entry point of a rank (see `launchRanks`). Returns when the leader publishes an empty plan. */
export function rankMain(context: RankContext<RankArguments>): void {
  const { world, args } = context;
  const { rank } = world;
  const { spinMicroseconds } = args;
  using channel = RankChannel.open(args.channel, { rank, spinMicroseconds });
  try {
    using engine = new RankEngine(context, channel);
    channel.setReady();
    engine.run();
  } catch (error) {
    channel.setFailed(error instanceof Error ? error.message : String(error));
    throw error;
  }
}

/** One rank's model and its loop. */
class RankEngine implements Disposable {
  readonly #resources = new DisposableStack();
  readonly #channel: RankChannel;
  readonly #timeoutMs: number;
  readonly #runner: ModelRunner;
  readonly #mesh: DeviceMesh;

  constructor(context: RankContext<RankArguments>, channel: RankChannel) {
    const { world, args } = context;
    const { config, timeoutMs } = args;
    const { modelConfig } = config;
    this.#channel = channel;
    this.#timeoutMs = timeoutMs;
    try {
      const device = this.#resources.use(
        openDevice({ kind: config.device, threads: config.threads }),
      );
      assertSameKernels(world, device);
      this.#mesh = this.#resources.use(createDeviceMesh(world, config));
      const weights = config.loadFormat === "dummy"
        ? new DummyWeights(modelConfig)
        : this.#resources.use(Checkpoint.open(config.model, modelConfig));
      const model = this.#resources.use(loadModel({
        config: modelConfig,
        weights,
        device,
        mesh: this.#mesh,
        format: config.format,
        maxModelLen: config.maxModelLen,
        maxRows: config.maxNumBatchedTokens,
        maxLogitRows: logitRowsAtOnce(config),
        onProgress: (fraction) => channel.setProgress(fraction),
      }));
      const { rank: stage, size: stages } = this.#mesh.pipelineParallel;
      this.#runner = this.#resources.use(
        new ModelRunner({
          device,
          model,
          sampler: this.#openSampler(model, device),
          board: stage === 0 && stages > 1
            ? { tokenOf: (step, slot) => channel.waitTokens(step, timeoutMs)[slot] }
            : null,
          record: device.canRecord,
          maxNumSeqs: config.maxNumSeqs,
          maxNumBatchedTokens: config.maxNumBatchedTokens,
          maxModelLen: config.maxModelLen,
        }),
      );
      this.#runner.allocateCache(config.numBlocks);
    } catch (error) {
      this.#resources.dispose();
      throw error;
    }
  }

  /** Runs plans until the leader ends it. */
  run(): void {
    new RankLoop({
      channel: this.#channel,
      runner: this.#runner,
      reports: this.#mesh.tensorParallel.rank === 0,
      timeoutMs: this.#timeoutMs,
    }).run();
  }

  #openSampler(model: CausalLm, device: Device): Sampler | null {
    const { vocab, logits } = model;
    if (!vocab || !logits) return null;
    const { tensorParallel } = this.#mesh;
    return this.#resources.use(new Sampler({ device, tensorParallel, vocab, logits }));
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}

/** Rows of logits that are computed at once: one for each running sequence, within a limit of memory. */
function logitRowsAtOnce(config: EngineConfig): number {
  const rowBytes = config.modelConfig.vocabSize * 4;
  const fitting = Math.max(1, Math.floor(MAX_LOGIT_BYTES / rowBytes));
  return Math.min(config.maxNumSeqs, fitting);
}

/** Refuses ranks whose kernels would give other bits (NUMERICS.md 10). */
function assertSameKernels(world: Communicator, device: Device): void {
  const { kernelHash, instructionSet } = device.description;
  const padded = new Uint8Array(128);
  new TextEncoder().encodeInto(`${instructionSet} ${kernelHash}`, padded);
  using mine = Tensor.allocate(device, { shape: [padded.length], dtype: "u8" });
  using all = Tensor.allocate(device, { shape: [world.size, padded.length], dtype: "u8" });
  mine.upload(padded);
  world.allGather(all.address, mine.address, padded.length, { dtype: "u8" });
  const gathered = all.download(new Uint8Array(world.size * padded.length));
  for (let rank = 0; rank < world.size; rank++) {
    const other = gathered.subarray(rank * padded.length, (rank + 1) * padded.length);
    if (other.some((byte, i) => byte !== padded[i])) {
      throw new Error(
        `Cannot join ranks whose kernels differ: rank ${rank} has ` +
          `${new TextDecoder().decode(other).replace(/\0+$/, "")}, rank ${world.rank} has ` +
          `${instructionSet} ${kernelHash}`,
      );
    }
  }
}
