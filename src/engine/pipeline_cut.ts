/**
 * Settles how a model's layers are cut into pipeline stages.
 * @module
 */
import type { ModelConfig } from "../models/model_config.ts";
import { stagesByCost, verifyStages } from "../models/pipeline_stages.ts";
import type { EngineOptions } from "./types.ts";

/** How layers are cut into stages. */
export interface PipelineCut {
  /** Decoder layers of each stage. */
  readonly pipelineLayers: readonly number[];
  /** What cut them. */
  readonly pipelineCutBy: "request" | "cost";
}

/**
 * The cut that is asked for, else the one by cost.
 *
 * @throws {RangeError} when a stage would have no layer, or the cut is not one of this model.
 */
export function settlePipelineCut(
  { pipelineLayers }: Pick<EngineOptions, "pipelineLayers">,
  { modelConfig, stages }: { readonly modelConfig: ModelConfig; readonly stages: number },
): PipelineCut {
  const byCost = stagesByCost(modelConfig, stages);
  if (pipelineLayers === undefined) return { pipelineLayers: byCost, pipelineCutBy: "cost" };
  verifyStages(pipelineLayers, { numLayers: modelConfig.numLayers, stages });
  return { pipelineLayers, pipelineCutBy: "request" };
}

/** The cut, for people. */
export function describeCut({ pipelineLayers, pipelineCutBy }: PipelineCut): string {
  if (pipelineLayers.length === 1) return "none: one stage has all layers";
  const reason = pipelineCutBy === "request" ? "as asked for" : "by cost";
  return `${pipelineLayers.join(" + ")} layers, ${reason}`;
}
