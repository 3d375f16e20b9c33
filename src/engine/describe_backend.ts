/**
 * What an engine computes with, for people.
 * @module
 */
import type { EngineConfig } from "./engine_config.ts";
import { formatBytes } from "./format_bytes.ts";
import { describeCut } from "./pipeline_cut.ts";
import type { RankReport } from "./rank/rank_engine.ts";

/** Device, instruction set, layout and communicator of an engine, as its ranks report them. */
export function describeBackend(
  config: EngineConfig,
  report: RankReport,
): Readonly<Record<string, string | number>> {
  const { kind, name, instructionSet, instructionSetReason, kernelHash } = report.device;
  return {
    device: config.wasm ? "wasm" : kind,
    deviceChoice: config.deviceReason,
    processor: name,
    instructionSet,
    instructionSetChoice: instructionSetReason,
    kernels: kernelHash,
    activations: config.activationDtype,
    kvCache: config.kvCacheDtype,
    layout: `${config.tensorParallelSize} tensor x ${config.pipelineParallelSize} pipeline`,
    ...(config.pipelineParallelSize > 1 ? { pipelineCut: describeCut(config) } : {}),
    communicator: report.communicator,
    launcher: config.launcher,
    threadsPerRank: config.threads,
    decodeSteps: describeSteps(config),
    kvBlocks: report.numBlocks,
    ...(report.sharedWeights ? { packedWeights: describeShared(report.sharedWeights) } : {}),
    weightSeconds: Number(report.weightSeconds.toFixed(3)),
  };
}

function describeShared({ packedBy, bytes }: NonNullable<RankReport["sharedWeights"]>): string {
  if (packedBy !== "private" && bytes === 0) return "none: weights stay where they are stored";
  switch (packedBy) {
    case "this":
      return `${formatBytes(bytes)} a rank, packed here for all replicas of the host`;
    case "other":
      return `${formatBytes(bytes)} a rank, packed by another replica of the host`;
    case "private":
      return "not shared: the system has no huge pages for memory that is shared";
  }
}

function describeSteps({ device, enforceEager }: EngineConfig): string {
  if (device === "cpu") return "eager: a recording would save nothing on the CPU";
  return enforceEager ? "eager: asked for" : "recorded";
}
