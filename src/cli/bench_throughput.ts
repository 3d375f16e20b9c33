/**
 * `weft bench throughput`: prefill and decode speed of a model on this machine.
 * @module
 */
import { describeQuantization } from "../engine/describe_weights.ts";
import { resolveEngineConfig } from "../engine/engine_config.ts";
import { engineFootprints } from "../engine/engine_memory.ts";
import { kvBytesPerBlock } from "../models/rank_footprint.ts";
import { KV_BLOCK_SIZE } from "../tensor/attention_kernels.ts";
import { ReplicaRouter } from "../serving/replica_router.ts";
import { measureBandwidth } from "./bandwidth.ts";
import type { Command, Invocation } from "./command.ts";
import { bytesReadPerToken } from "./decode_traffic.ts";
import { engineOptions } from "./engine_options.ts";
import { BENCH_FLAGS } from "./flags.ts";
import { disposeAll, loadReplicas } from "./load_replicas.ts";
import { modelFolder } from "./model_folder.ts";
import { UsageError } from "./parse_flags.ts";
import { peakMemory } from "./peak_memory.ts";
import { storedWeights } from "./stored_weights.ts";
import { median, randomPrompts, timeDecode, timePrefill } from "./throughput.ts";

type Flags = typeof BENCH_FLAGS;

const WARM_UP_DECODE_TOKENS = 16;
const DEFAULT_PROMPT_TOKENS = 512;

/** The command `bench throughput`. */
export const benchThroughputCommand: Command<Flags> = {
  name: "bench throughput",
  summary: "Measure prefill and decode speed of a model on this machine",
  example: "weft bench throughput --model DIR --prompt-tokens 512 --decode-tokens 128 --json",
  flags: BENCH_FLAGS,
  run: benchThroughput,
};

async function benchThroughput({ values, host }: Invocation<Flags>): Promise<number> {
  const { batch, repetitions } = values;
  const decodeTokens = values["decode-tokens"];
  const replicas = values["data-parallel-size"];
  if (batch < replicas) {
    throw new UsageError(`Cannot keep ${replicas} replicas busy as --batch is smaller: ${batch}`);
  }
  const { folder: model } = await modelFolder(values.model, host);
  const config = resolveEngineConfig(engineOptions(values, model));
  const room = config.maxModelLen - decodeTokens - 1;
  const promptTokens = values["prompt-tokens"] ??
    Math.min(DEFAULT_PROMPT_TOKENS, Math.max(1, room));
  const depth = values.depth ?? promptTokens;
  if (Math.max(promptTokens, depth) > room) {
    throw new UsageError(
      `Cannot time ${Math.max(promptTokens, depth)} + ${decodeTokens} tokens as the context is ` +
        `shorter: ${config.maxModelLen} positions`,
    );
  }

  const loadStart = performance.now();
  const engines = await loadReplicas(values, { model, host });
  const loadSeconds = (performance.now() - loadStart) / 1000;
  const prefill: number[] = [];
  const decode: number[] = [];
  let peakMemoryBytes: number;
  let preemptions: number;
  try {
    const router = new ReplicaRouter(engines);
    const { vocabSize, maxModelLen } = engines[0].info;
    const prompts = (seed: number, length: number) =>
      randomPrompts({ count: batch, length, vocabSize, seed });
    await timePrefill(router, prompts(0, promptTokens));
    await timeDecode(router, prompts(0, depth), {
      decodeTokens: Math.min(WARM_UP_DECODE_TOKENS, decodeTokens),
      maxModelLen,
    });
    const preemptionsBefore = router.stats.preemptions;
    for (let repetition = 1; repetition <= repetitions; repetition++) {
      const prefilled = await timePrefill(router, prompts(2 * repetition - 1, promptTokens));
      prefill.push(prefilled.tokens / prefilled.seconds);
      const decoded = await timeDecode(router, prompts(2 * repetition, depth), {
        decodeTokens,
        maxModelLen,
      });
      decode.push(decoded.tokens / decoded.seconds);
      host.log.info(
        `run ${repetition} of ${repetitions}: prefill ${prefill.at(-1)!.toFixed(1)} tokens/s, ` +
          `decode ${decode.at(-1)!.toFixed(1)} tokens/s`,
      );
    }
    preemptions = router.stats.preemptions - preemptionsBefore;
    peakMemoryBytes = peakMemory(engines.flatMap(({ pids }) => pids));
  } finally {
    await disposeAll(engines);
  }
  if (preemptions > 0) {
    host.log.warn(`${preemptions} preemptions fell into the timed runs: raise --kv-cache-memory`);
  }

  // After the engines have gone, so that nobody else reads and the peak is theirs.
  const bandwidth = measureBandwidth(config, replicas);
  const bytesPerToken = bytesReadPerToken(
    config.modelConfig,
    storedWeights(config),
    {
      batch: batch / replicas,
      context: depth + decodeTokens / 2,
      kvBytesPerToken: kvBytesPerBlock(engineFootprints(config)) / KV_BLOCK_SIZE,
      device: config.device,
      format: config.format,
      quantization: config.quantization,
    },
  );
  const decodeRate = median(decode);
  const result = {
    model,
    architecture: config.modelConfig.architecture,
    tensor_parallel_size: config.tensorParallelSize,
    pipeline_parallel_size: config.pipelineParallelSize,
    data_parallel_size: replicas,
    launcher: config.launcher,
    threads_per_rank: config.threads,
    dtype: values.dtype,
    quantization: describeQuantization(config),
    prompt_tokens: promptTokens,
    decode_tokens: decodeTokens,
    depth,
    batch,
    repetitions,
    prefill_tokens_per_second: median(prefill),
    decode_tokens_per_second: decodeRate,
    bytes_read_per_token: bytesPerToken,
    memory_bandwidth_bytes_per_second: bandwidth,
    memory_bandwidth_share: decodeRate * bytesPerToken / bandwidth,
    load_seconds: loadSeconds,
    peak_memory_bytes: peakMemoryBytes,
    preemptions,
    backend: engines[0].info.backend,
  };
  host.print(values.json ? JSON.stringify(result) : formatResult(result));
  return 0;
}

function formatResult(result: Readonly<Record<string, unknown>>): string {
  const shown = (value: unknown) =>
    typeof value === "number" && !Number.isInteger(value)
      ? value.toPrecision(4)
      : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);
  return Object.entries(result).map(([name, value]) => `${name}: ${shown(value)}`).join("\n");
}
