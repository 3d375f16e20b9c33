/**
 * How an engine's weights are stored and used, for people.
 * @module
 */
import type { WeightDType } from "../tensor/dtype.ts";
import type { EngineConfig } from "./engine_config.ts";

type WeightChoices = Pick<EngineConfig, "modelConfig" | "device" | "format" | "quantization">;

/** How linear layers are quantised: in the files, while they are loaded, or not at all. */
export function describeQuantization(
  { modelConfig, quantization }: Pick<WeightChoices, "modelConfig" | "quantization">,
): string {
  if (quantization !== undefined) return `${quantization}, made while loading`;
  if (modelConfig.quantization === null) return "none";
  const { method, bits, groupSize, reordered } = modelConfig.quantization;
  const groups = groupSize === null ? "a scale an output" : `groups of ${groupSize} inputs`;
  return `${method} of ${bits} bits, ${groups}${reordered ? " in any order" : ""}`;
}

/** What the weights of most of the checkpoint are, `stored`, and what becomes of them. */
export function describeWeights(config: WeightChoices, stored: WeightDType): string {
  const { modelConfig, device, format, quantization } = config;
  const dense = describeDense(stored, { device, format });
  if (quantization === undefined && modelConfig.quantization === null) return dense;
  return `${describeQuantization(config)}; all else ${dense}`;
}

function describeDense(
  stored: WeightDType,
  { device, format }: Pick<WeightChoices, "device" | "format">,
): string {
  if (format === null || format === stored) return stored;
  return format === "f32" && device === "cpu"
    ? `${stored}, widened to f32 in registers`
    : `${format}, from ${stored}`;
}
