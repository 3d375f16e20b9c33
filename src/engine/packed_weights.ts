/**
 * What replicas of this host have packed already.
 * @module
 */
import { WeightList } from "../tensor/cpu/weight_list.ts";
import type { EngineConfig } from "./engine_config.ts";
import { weightsName } from "./rank/weight_key.ts";

/** Whether the weights of every rank lie in the engine's store: packed, or being packed. */
export function isPacked(config: EngineConfig): boolean {
  if (config.weightStore === null) return false;
  const name = weightsName(config);
  using list = new WeightList(config.weightStore.path);
  const ranks = new Set(list.keys.filter((key) => key.startsWith(`${name} `)));
  return ranks.size === config.tensorParallelSize * config.pipelineParallelSize;
}
