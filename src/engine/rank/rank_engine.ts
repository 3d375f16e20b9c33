/**
 * What a rank of an engine holds: its device, its part of the model, and the runner.
 * @module
 */
import type { Communicator } from "../../distributed/communicator.ts";
import { openDeviceCommunicator } from "../../distributed/device_communicator.ts";
import { createDeviceMesh, type DeviceMesh } from "../../distributed/device_mesh.ts";
import { gatherBytes } from "../../distributed/gather_bytes.ts";
import type { RankChannel } from "../../distributed/rank_channel.ts";
import { Checkpoint } from "../../models/checkpoint.ts";
import type { CausalLm } from "../../models/causal_lm.ts";
import { DummyWeights } from "../../models/dummy_weights.ts";
import { loadModel } from "../../models/load_model.ts";
import { KV_BLOCK_SIZE } from "../../tensor/attention_kernels.ts";
import { SharedWeights } from "../../tensor/cpu/shared_weights.ts";
import type { Device, DeviceDescription } from "../../tensor/device.ts";
import { openDevice } from "../../tensor/open_device.ts";
import type { EngineConfig } from "../engine_config.ts";
import { engineFootprints } from "../engine_memory.ts";
import { blocksOnGpu } from "../kv_cache_size.ts";
import { weightKey, weightsName } from "./weight_key.ts";
import { ModelRunner } from "./model_runner.ts";
import { Sampler } from "../sampler/sampler.ts";
import type { DrawnTokens } from "./step_batch.ts";

/** What a rank tells the leader once it is ready; travels as JSON. */
export interface RankReport {
  /** Blocks of the KV cache, the same on all ranks. */
  readonly numBlocks: number;
  /** The rank's device. */
  readonly device: DeviceDescription;
  /** What moves data between devices. */
  readonly communicator: string;
  /** Seconds in which the rank's weights were read, and copied into the order in which kernels read them. */
  readonly weightSeconds: number;
  /** Who packed the weights that it shares with the same rank of other replicas; null when it shares none. */
  readonly sharedWeights:
    | { readonly packedBy: SharedWeights["packedBy"]; readonly bytes: number }
    | null;
}

/** Options of {@linkcode RankEngine}. */
export interface RankEngineOptions {
  /** The engine's settled options. */
  readonly config: EngineConfig;
  /** All ranks of the engine; works on host memory. */
  readonly world: Communicator;
  /** The leader's channel. */
  readonly channel: RankChannel;
  /** Deadline of whatever depends on other ranks or on the device, in milliseconds. */
  readonly timeoutMs: number;
  /** Memory of all ranks, where they compute through WebAssembly. */
  readonly wasmMemory?: WebAssembly.Memory;
}

/** One rank's model, loaded and ready to run plans. */
export class RankEngine implements Disposable {
  /** Runs plans. */
  readonly runner: ModelRunner;
  /** For the leader. */
  readonly report: RankReport;
  /** Whether this rank sends results: one rank of the last stage does. */
  readonly reports: boolean;
  readonly #resources: DisposableStack;

  /** Opens the device, loads the rank's weights and settles the KV cache. */
  constructor(options: RankEngineOptions) {
    const { config, world, timeoutMs } = options;
    using resources = new DisposableStack();
    const shared = openSharedWeights(options);
    if (shared) resources.use(shared);
    const device = resources.use(openRankDevice(options, shared));
    assertSameKernels(world, device);
    const group = openDeviceCommunicator(world, device, { timeoutMs });
    if (group !== world) resources.use(group);
    const mesh = resources.use(createDeviceMesh(group, config));
    const start = performance.now();
    const model = loadRankModel(options, { device, mesh, shared }, resources);
    const weightSeconds = (performance.now() - start) / 1000;
    const sampler = openSampler(model, device, { mesh, maxAdjustments: config.maxAdjustments });
    if (sampler) resources.use(sampler);
    this.runner = resources.use(
      new ModelRunner({
        device,
        model,
        sampler,
        drawnTokens: drawnTokensOf(mesh, options),
        record: device.canRecord && !config.enforceEager,
        maxNumSeqs: config.maxNumSeqs,
        maxNumBatchedTokens: config.maxNumBatchedTokens,
        maxHitBlocks: config.maxHitBlocks,
        maxModelLen: config.maxModelLen,
      }),
    );
    this.report = {
      numBlocks: allocateCache(this.runner, device, options),
      device: device.description,
      communicator: world.size === 1 ? "single" : mesh.world.kind,
      weightSeconds,
      sharedWeights: shared && { packedBy: shared.packedBy, bytes: shared.byteLength },
    };
    this.reports = sampler !== null && mesh.tensorParallel.rank === 0;
    this.#resources = resources.move();
  }

  /** Frees the rank's memory. */
  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}

function openSharedWeights(
  { config, channel, timeoutMs }: RankEngineOptions,
): SharedWeights | null {
  if (config.weightStore === null) return null;
  return new SharedWeights(config.weightStore, {
    timeoutMs,
    check: () => channel.throwIfAborted("SharedWeights.begin"),
  });
}

function openRankDevice(
  { config, world, timeoutMs, wasmMemory }: RankEngineOptions,
  shared: SharedWeights | null,
): Device {
  const { device, wasm, threads, firstGpu } = config;
  const kind = wasm ? "wasm" : device;
  return openDevice({
    kind,
    threads,
    sharedPanels: shared ?? undefined,
    wasmMemory,
    index: firstGpu + world.rank,
    timeoutMs,
  });
}

function loadRankModel(
  { config, channel }: RankEngineOptions,
  { device, mesh, shared }: {
    readonly device: Device;
    readonly mesh: DeviceMesh;
    readonly shared: SharedWeights | null;
  },
  resources: DisposableStack,
): CausalLm {
  const mapped = !config.wasm;
  const checkpoint = config.loadFormat === "dummy"
    ? null
    : resources.use(Checkpoint.open(config.model, config.modelConfig, { mapped }));
  const weights = checkpoint ?? new DummyWeights(config.modelConfig);
  const name = shared && weightsName(config);
  if (shared) {
    const place = { coordinates: mesh.coordinates, device: device.description };
    shared.begin(weightKey(name!, place));
  }
  const model = resources.use(loadModel({
    config: config.modelConfig,
    weights,
    device,
    mesh,
    pipelineLayers: config.pipelineLayers,
    format: config.format,
    quantization: config.quantization,
    activationDtype: config.activationDtype,
    kvCacheDtype: config.kvCacheDtype,
    maxModelLen: config.maxModelLen,
    maxRows: config.maxNumBatchedTokens,
    maxLogitRows: config.maxLogitRows,
    onProgress: (fraction) => {
      channel.setProgress(fraction);
      // The device has copies of most of a layer's tensors by now.
      checkpoint?.release();
    },
  }));
  if (shared && weightsName(config) !== name) {
    throw new Error(`Cannot load ${config.model} as its files were changed meanwhile`);
  }
  shared?.finish();
  checkpoint?.release();
  return model;
}

function openSampler(
  { vocab, logits }: CausalLm,
  device: Device,
  { mesh, maxAdjustments }: { readonly mesh: DeviceMesh; readonly maxAdjustments: number },
): Sampler | null {
  if (!vocab || !logits) return null;
  const { tensorParallel } = mesh;
  return new Sampler({ device, tensorParallel, vocab, logits, maxAdjustments });
}

/** The first stage takes tokens: its own, or those that the last stage posts. */
function drawnTokensOf(
  { pipelineParallel }: DeviceMesh,
  { channel, timeoutMs }: RankEngineOptions,
): DrawnTokens {
  if (pipelineParallel.rank > 0) return null;
  if (pipelineParallel.size === 1) return "slots";
  return { tokenOf: (step, slot) => channel.waitTokens(step, timeoutMs)[slot] };
}

/**
 * Allocates the KV cache and, on a GPU, runs and records what steps will run: this takes the memory that
 * libraries and kernels take at their first use. Returns the number of blocks: the one that was settled,
 * or what then is left, the least of all ranks.
 */
function allocateCache(runner: ModelRunner, device: Device, options: RankEngineOptions): number {
  const { config, world } = options;
  let { numBlocks } = config;
  if (numBlocks === null) {
    runner.allocateCache(0);
    runner.warmUp();
    numBlocks = leastOf(world, Math.min(blocksThatFit(device, options), config.enoughBlocks));
  }
  runner.allocateCache(numBlocks);
  if (device.kind === "cuda") runner.warmUp();
  return numBlocks;
}

function blocksThatFit(device: Device, { config, world }: RankEngineOptions): number {
  const { kvBytesPerToken } = engineFootprints(config)[world.rank];
  return blocksOnGpu({
    ...device.memoryInfo(),
    utilization: config.gpuMemoryUtilization,
    blockBytes: KV_BLOCK_SIZE * kvBytesPerToken,
  });
}

function leastOf(world: Communicator, value: number): number {
  const all = gatherBytes(world, new Uint8Array(Float64Array.of(value).buffer));
  return Math.min(...all.map((bytes) => new Float64Array(bytes.slice().buffer)[0]));
}

/** Refuses ranks whose kernels would give other bits (NUMERICS.md 10). */
function assertSameKernels(world: Communicator, device: Device): void {
  const { kernelHash, instructionSet } = device.description;
  const mine = new Uint8Array(128);
  new TextEncoder().encodeInto(`${instructionSet} ${kernelHash}`, mine);
  gatherBytes(world, mine).forEach((other, rank) => {
    if (other.every((byte, i) => byte === mine[i])) return;
    throw new Error(
      `Cannot join ranks whose kernels differ: rank ${rank} has ` +
        `${new TextDecoder().decode(other).replace(/\0+$/, "")}, rank ${world.rank} has ` +
        `${instructionSet} ${kernelHash}`,
    );
  });
}
