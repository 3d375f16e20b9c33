/**
 * Entry of an engine's own thread: the scheduler, and the executor that drives the ranks.
 * @module
 */
/// <reference lib="deno.worker" />
import { KV_BLOCK_SIZE } from "../tensor/device.ts";
import type { EngineConfig } from "./engine_config.ts";
import { EngineCore } from "./engine_core.ts";
import type { EngineCommand, EngineEvent } from "./engine_protocol.ts";
import { LOOKAHEAD, RankExecutor } from "./rank_executor.ts";
import { Scheduler, type SchedulerRequest } from "./scheduler.ts";
import { UnsupportedRequestError } from "./types.ts";

let core: EngineCore | null = null;
let executor: RankExecutor | null = null;
let starting: Promise<void> | null = null;

self.onmessage = async (message: MessageEvent<EngineCommand>) => {
  const command = message.data;
  switch (command.type) {
    case "start":
      starting = start(command.config);
      return await starting;
    case "add":
      return add(command.request);
    case "abort":
      return core?.abort(command.id);
    case "stop":
      await starting;
      await executor?.[Symbol.asyncDispose]();
      return post({ type: "stopped" });
  }
};

async function start(config: EngineConfig): Promise<void> {
  try {
    const started = await RankExecutor.start(config, {
      onProgress: (fraction) => post({ type: "loading", fraction }),
    });
    executor = started;
    const scheduler = new Scheduler({
      maxNumSeqs: config.maxNumSeqs,
      maxNumBatchedTokens: config.maxNumBatchedTokens,
      numBlocks: config.numBlocks,
      blockSize: KV_BLOCK_SIZE,
      maxModelLen: config.maxModelLen,
      pipelineStages: config.pipelineParallelSize,
      lookahead: LOOKAHEAD,
      vocabSize: config.modelConfig.vocabSize,
    });
    core = new EngineCore(scheduler, started, {
      progress: (outputs, stats) => post({ type: "progress", outputs, stats }),
      dead: (reason) => post({ type: "dead", reason }),
    });
    const { backend, pids } = started;
    post({ type: "ready", stats: core.stats, backend, pids });
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
