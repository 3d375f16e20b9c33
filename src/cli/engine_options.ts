/**
 * From engine flags to the options of an engine.
 * @module
 */
import type { EngineOptions } from "../engine/types.ts";
import type { ENGINE_FLAGS } from "./flags.ts";
import type { FlagValues } from "./parse_flags.ts";

/** Values of the flags that lay out an engine. */
export type EngineFlagValues = FlagValues<typeof ENGINE_FLAGS>;

/** Share of the free memory that all replicas' KV caches take together when no flag says more. */
const KV_SHARE = 1 / 4;

/** What the machine has to share out. */
export interface MachineResources {
  /** Processors. */
  readonly cores: number;
  /** Free bytes of memory. */
  readonly freeMemory: number;
}

/** Reads the machine's resources. */
export function machineResources(): MachineResources {
  return {
    cores: navigator.hardwareConcurrency,
    freeMemory: Deno.systemMemoryInfo().available,
  };
}

/** Options of each replica: what no flag gives and replicas share is divided evenly among them. */
export function engineOptions(
  values: EngineFlagValues,
  options: { readonly model: string; readonly machine: MachineResources },
): EngineOptions {
  const { machine } = options;
  const replicas = values["data-parallel-size"];
  const ranks = values["tensor-parallel-size"] * values["pipeline-parallel-size"];
  const kvCacheMemory = values["kv-cache-memory"] ??
    (values["num-kv-blocks"] === undefined
      ? Math.floor(machine.freeMemory * KV_SHARE / replicas)
      : undefined);
  return {
    model: options.model,
    tensorParallelSize: values["tensor-parallel-size"],
    pipelineParallelSize: values["pipeline-parallel-size"],
    maxModelLen: values["max-model-len"],
    maxNumSeqs: values["max-num-seqs"],
    maxNumBatchedTokens: values["max-num-batched-tokens"],
    numKvBlocks: values["num-kv-blocks"],
    kvCacheMemory,
    device: values.device,
    dtype: values.dtype,
    launcher: values.launcher,
    threads: values.threads ?? Math.max(1, Math.floor(machine.cores / (ranks * replicas))),
    seed: values.seed,
  };
}
