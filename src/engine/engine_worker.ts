/**
 * Entry of an engine's own thread: the scheduler, and the leader's end of the channel to the ranks.
 * @module
 */
/// <reference lib="deno.worker" />
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import { describeBackend } from "./describe_backend.ts";
import { EngineCore } from "./engine_core.ts";
import type { EngineCommand, EngineEvent } from "./engine_protocol.ts";
import { OutputPacker } from "./output_batch.ts";
import { RankExecutor } from "./rank_executor.ts";
import { Scheduler, type SchedulerRequest } from "./scheduler/scheduler.ts";
import { SharedStats } from "./shared_stats.ts";
import { positionsInCache } from "./step_limits.ts";
import { UnsupportedRequestError } from "./types.ts";

/** What starts an engine. */
type StartCommand = Extract<EngineCommand, { type: "start" }>;

let core: EngineCore | null = null;
let executor: RankExecutor | null = null;

self.onmessage = async (message: MessageEvent<EngineCommand>) => {
  const command = message.data;
  switch (command.type) {
    case "start":
      return await start(command);
    case "add":
      return add(command.request);
    case "abort":
      return core?.abort(command.id);
    case "hold":
      return core?.hold(() => post({ type: "held", hold: command.hold }));
    case "go":
      return core?.go();
    case "stop":
      await executor?.[Symbol.asyncDispose]();
      return post({ type: "stopped" });
  }
};

async function start({ config, wasmMemory, stats }: StartCommand): Promise<void> {
  const sharedStats = new SharedStats(stats);
  const packer = new OutputPacker();
  try {
    executor = new RankExecutor(config, wasmMemory);
    post({ type: "channel", handle: executor.handle });
    const report = await executor.waitUntilReady((fraction) => post({ type: "loading", fraction }));
    const maxModelLen = positionsInCache(config, report.numBlocks);
    const scheduler = new Scheduler({
      maxNumSeqs: config.maxNumSeqs,
      maxNumBatchedTokens: config.maxNumBatchedTokens,
      numBlocks: report.numBlocks,
      blockSize: KV_BLOCK_SIZE,
      maxModelLen,
      pipelineStages: config.pipelineParallelSize,
      lookahead: config.lookahead,
      vocabSize: config.modelConfig.vocabSize,
      maxHitBlocks: config.maxHitBlocks,
      maxAdjustments: config.maxAdjustments,
      cacheSecret: String.fromCharCode(...crypto.getRandomValues(new Uint16Array(16))),
    });
    core = new EngineCore(scheduler, executor, {
      progress(outputs, stats) {
        sharedStats.write(stats);
        if (outputs.length > 0) post({ type: "outputs", batch: packer.pack(outputs) });
      },
      dead: (reason) => post({ type: "dead", reason }),
    });
    const backend = { ...describeBackend(config, report), maxModelLen };
    sharedStats.write(core.stats);
    post({ type: "ready", maxModelLen, backend });
  } catch (error) {
    post({ type: "dead", reason: error instanceof Error ? error.message : String(error) });
  }
}

function add(request: SchedulerRequest): void {
  try {
    core?.add(request);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const param = error instanceof UnsupportedRequestError ? error.param : null;
    post({ type: "rejected", id: request.id, message, param });
  }
}

function post(event: EngineEvent): void {
  self.postMessage(event);
}
