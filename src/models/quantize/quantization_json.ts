/**
 * The `quantization_config` of the checkpoints that are written here.
 * @module
 */
import type { JsonObject } from "../json_file.ts";

/** Options of {@linkcode quantizationJson}. */
export interface QuantizationJsonOptions {
  /** Inputs of a group of 4-bit weights; null: 8-bit weights with a scale for each output. */
  readonly groupSize: number | null;
  /** Names of linear layers that stay dense, the output head aside. */
  readonly denseLayers: readonly string[];
}

/** What config.json says of them: AWQ for groups, else compressed-tensors. */
export function quantizationJson(options: QuantizationJsonOptions): JsonObject {
  const { groupSize, denseLayers } = options;
  if (groupSize !== null) {
    // Parts of names here: what follows the number of a layer is the same in all.
    const parts = new Set(denseLayers.map((name) => name.replace(/^.*\.\d+\./, "")));
    return {
      quant_method: "awq",
      bits: 4,
      group_size: groupSize,
      zero_point: true,
      version: "gemm",
      modules_to_not_convert: parts.size > 0 ? [...parts] : null,
    };
  }
  const integers = { num_bits: 8, type: "int", symmetric: true };
  return {
    quant_method: "compressed-tensors",
    format: "int-quantized",
    quantization_status: "compressed",
    ignore: ["lm_head", ...denseLayers],
    config_groups: {
      group_0: {
        targets: ["Linear"],
        weights: { ...integers, strategy: "channel", dynamic: false },
        input_activations: { ...integers, strategy: "token", dynamic: true },
        output_activations: null,
      },
    },
  };
}
