/**
 * Entry of an engine's own thread: the scheduler, and the leader's end of the channel to the ranks.
 * @module
 */
/// <reference lib="deno.worker" />
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import { describeBackend } from "./describe_backend.ts";
import { type EngineConfig, positionsInCache } from "./engine_config.ts";
import { EngineCore } from "./engine_core.ts";
import type { EngineCommand, EngineEvent } from "./engine_protocol.ts";
import { RankExecutor } from "./rank_executor.ts";
import { Scheduler, type SchedulerRequest } from "./scheduler/scheduler.ts";
import { UnsupportedRequestError } from "./types.ts";

let core: EngineCore | null = null;
let executor: RankExecutor | null = null;

self.onmessage = async (message: MessageEvent<EngineCommand>) => {
  const command = message.data;
  switch (command.type) {
    case "start":
      return await start(command.config, command.wasmMemory);
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

async function start(config: EngineConfig, wasmMemory?: WebAssembly.Memory): Promise<void> {
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
    });
    core = new EngineCore(scheduler, executor, {
      progress: (outputs, stats) => post({ type: "progress", outputs, stats }),
      dead: (reason) => post({ type: "dead", reason }),
    });
    const backend = { ...describeBackend(config, report), maxModelLen };
    post({ type: "ready", stats: core.stats, maxModelLen, backend });
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
