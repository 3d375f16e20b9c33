/**
 * What tells packed weights apart.
 * @module
 */
import { createHash } from "node:crypto";
import type { MeshCoordinates } from "../../distributed/device_mesh.ts";
import type { DeviceDescription } from "../../tensor/device.ts";
import type { EngineConfig } from "../engine_config.ts";

/** The part of a rank in {@linkcode weightKey}. */
export interface WeightKeyOptions {
  /** Which weights: the identity of a checkpoint's files; null for random ones. */
  readonly identity: string | null;
  /** The engine's settled options. */
  readonly config: EngineConfig;
  /** The rank's place. */
  readonly coordinates: MeshCoordinates;
  /** The rank's device. */
  readonly device: DeviceDescription;
}

/** Equal for ranks, of any engines, that would pack the same bytes in the same order. */
export function weightKey({ identity, config, coordinates, device }: WeightKeyOptions): string {
  const { modelConfig, tensorParallelSize, pipelineLayers, format, quantization } = config;
  const { pipelineParallelRank, tensorParallelRank } = coordinates;
  const { instructionSet, kernelHash } = device;
  const parts = [
    identity,
    modelConfig,
    [format, quantization ?? null],
    [tensorParallelRank, tensorParallelSize],
    [pipelineParallelRank, pipelineLayers],
    [instructionSet, kernelHash],
  ];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}
