/**
 * From engine flags to the options of an engine.
 * @module
 */
import type { EngineOptions } from "../engine/types.ts";
import type { ENGINE_FLAGS } from "./flags.ts";
import type { FlagValues } from "./parse_flags.ts";

/** Values of the flags that lay out an engine. */
export type EngineFlagValues = FlagValues<typeof ENGINE_FLAGS>;

/** Options of each replica of `model`; the engine settles what no flag gives. */
export function engineOptions(values: EngineFlagValues, model: string): EngineOptions {
  return {
    model,
    tensorParallelSize: values["tensor-parallel-size"],
    pipelineParallelSize: values["pipeline-parallel-size"],
    pipelineLayers: values["pipeline-layers"],
    replicasOnHost: values["data-parallel-size"],
    maxModelLen: values["max-model-len"],
    maxNumSeqs: values["max-num-seqs"],
    maxNumBatchedTokens: values["max-num-batched-tokens"],
    numKvBlocks: values["num-kv-blocks"],
    kvCacheMemory: values["kv-cache-memory"],
    schedulingPolicy: values["scheduling-policy"],
    enablePrefixCaching: values["enable-prefix-caching"],
    gpuMemoryUtilization: values["gpu-memory-utilization"],
    device: values.device,
    dtype: values.dtype,
    quantization: values.quantization,
    kvCacheDtype: values["kv-cache-dtype"],
    loadFormat: values["load-format"],
    launcher: values.launcher,
    enforceEager: values["enforce-eager"],
    threads: values.threads,
    seed: values.seed,
  };
}
