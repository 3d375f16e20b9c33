/**
 * What tells packed weights apart.
 * @module
 */
import { createHash } from "node:crypto";
import type { MeshCoordinates } from "../../distributed/device_mesh.ts";
import { Checkpoint } from "../../models/checkpoint.ts";
import type { DeviceDescription } from "../../tensor/device.ts";
import type { EngineConfig } from "../engine_config.ts";

/** What decides which weights the ranks of an engine pack. */
type WeightConfig = Pick<
  EngineConfig,
  | "model"
  | "modelConfig"
  | "loadFormat"
  | "tensorParallelSize"
  | "pipelineLayers"
  | "format"
  | "quantization"
>;

/** Equal for engines whose ranks pack the same weights. Throws ModelLoadError when there is no such checkpoint. */
export function weightsName(config: WeightConfig): string {
  const { modelConfig, tensorParallelSize, pipelineLayers, format, quantization } = config;
  const layout = [tensorParallelSize, pipelineLayers, format, quantization ?? null];
  const parts = JSON.stringify([identityOf(config), modelConfig, layout]);
  return createHash("sha256").update(parts).digest("hex");
}

/** Equal for ranks, of any engines, that pack the same bytes in the same order; begins with the weights' name. */
export function weightKey(
  name: string,
  { coordinates, device }: {
    readonly coordinates: MeshCoordinates;
    readonly device: DeviceDescription;
  },
): string {
  const { pipelineParallelRank, tensorParallelRank } = coordinates;
  const { instructionSet, kernelHash } = device;
  return [name, pipelineParallelRank, tensorParallelRank, instructionSet, kernelHash].join(" ");
}

function identityOf({ model, modelConfig, loadFormat }: WeightConfig): string {
  if (loadFormat === "dummy") return "dummy";
  using checkpoint = Checkpoint.open(model, modelConfig);
  return checkpoint.identity;
}
