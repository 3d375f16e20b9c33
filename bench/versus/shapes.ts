/** Shapes of models and formats of weights, and what each side calls them. */
import { type ModelConfig, parseModelConfig } from "../../src/models/model_config.ts";
import { presetConfig, type PresetName } from "../../src/models/presets.ts";
import type { GgufFormat } from "./gguf_model.ts";

/** Name of a shape on the command line. */
export type ShapeName = "135m" | "1b";

/** Name of a format on the command line. */
export type FormatName = "f32" | "bf16" | "int8" | "int4";

/** A format, as both sides call it. */
export interface Format {
  /** Storage of a GGUF file. */
  readonly gguf: GgufFormat;
  /** Storage of weft's checkpoint. */
  readonly checkpoint: "f32" | "bf16";
  /** Flags of weft that choose it. */
  readonly weftFlags: readonly string[];
}

const PRESETS: Readonly<Record<ShapeName, PresetName>> = {
  "135m": "smollm-135m",
  "1b": "llama-3.2-1b",
};

/** All formats. */
export const FORMATS: Readonly<Record<FormatName, Format>> = {
  f32: { gguf: "F32", checkpoint: "f32", weftFlags: ["--dtype", "f32"] },
  bf16: { gguf: "BF16", checkpoint: "bf16", weftFlags: ["--dtype", "bf16"] },
  int8: { gguf: "Q8_0", checkpoint: "bf16", weftFlags: ["--quantization", "int8"] },
  int4: { gguf: "Q4_0", checkpoint: "bf16", weftFlags: ["--quantization", "int4"] },
};

/** Names of all shapes. */
export const SHAPE_NAMES = Object.keys(PRESETS) as readonly ShapeName[];

/** Names of all formats. */
export const FORMAT_NAMES = Object.keys(FORMATS) as readonly FormatName[];

/** weft's preset of a shape. */
export function presetOf(shape: ShapeName): PresetName {
  return PRESETS[shape];
}

/** The model of a shape. */
export function configOf(shape: ShapeName): ModelConfig {
  const preset = presetOf(shape);
  return parseModelConfig(presetConfig(preset), { source: `preset ${preset}` });
}
