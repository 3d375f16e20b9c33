/**
 * Writes a quantised copy of a checkpoint.
 * @module
 */
import type { Device } from "../../tensor/device.ts";
import { Checkpoint } from "../checkpoint.ts";
import { CheckpointWriter } from "../checkpoint_writer.ts";
import { type JsonObject, readJsonFile } from "../json_file.ts";
import { MAX_CONFIG_BYTES, type ModelConfig, parseModelConfig } from "../model_config.ts";
import { type ParameterShape, parameterShapes } from "../parameter_shapes.ts";
import { familyOf } from "../registry.ts";
import { captureLayerInputs } from "./layer_inputs.ts";
import { copyOtherFiles, writeFolder } from "./output_folder.ts";
import { quantizationJson } from "./quantization_json.ts";
import { quantizeParameter } from "./quantized_parameter.ts";
import { ScaledWeights } from "./scaled_weights.ts";

/** Options of {@linkcode quantizeCheckpoint}. */
export interface QuantizeCheckpointOptions {
  /** Folder of a dense Hugging Face checkpoint. */
  readonly model: string;
  /**
   * `int8`: compressed-tensors, a scale for each output, activations rounded token by token. `int4`: AWQ's
   * GEMM layout, with a scale and a zero for each group of inputs.
   */
  readonly method: "int8" | "int4";
  /** Folder to write; one that is not empty is refused. */
  readonly out: string;
  /** Inputs of a group of `int4`. Default: the largest of 128, 64 and 32 that divides every layer's. */
  readonly groupSize?: number;
  /** For `int4`: tokens on which inputs are measured, at most as many as the model has positions. */
  readonly calibration: readonly number[];
  /** For `int4`: the CPU, to run the model on. */
  readonly device: Device;
  /** Whether files are mapped, which takes the native library; otherwise they are read whole. Default true. */
  readonly mapped?: boolean;
  /** Bytes of a file at most, unless a single tensor is larger. Default 4 GB. */
  readonly maxShardBytes?: number;
  /** Called with the fraction that is done. */
  readonly onProgress?: (fraction: number) => void;
}

/** What {@linkcode quantizeCheckpoint} wrote. */
export interface QuantizedCheckpoint {
  /** Inputs of a group; null for `int8`. */
  readonly groupSize: number | null;
  /** Places where scales were moved from the inputs of layers to what writes them. */
  readonly scaledInputs: number;
  /** Bytes of all tensors. */
  readonly bytes: number;
  /** Bytes that they had. */
  readonly bytesBefore: number;
  /** Names of the safetensors files. */
  readonly files: readonly string[];
}

/** Groups that are tried when none is asked for: those that kernels elsewhere know. */
const GROUP_SIZES = [128, 64, 32];

/** Share of the progress that the search for scales takes. */
const SEARCH_SHARE = 0.5;

/**
 * Quantises the linear layers of a checkpoint, but for its output head, and copies all else. Weights are
 * read and written one by one.
 *
 * @throws {ModelLoadError} when the checkpoint is not one that weft loads.
 * @throws {RangeError} when a layer's size does not fit the format.
 * @throws {Error} when the checkpoint is quantised already, or `out` is not empty.
 *
 * @example
 * ```ts
 * import { openDevice, quantizeCheckpoint } from "@weft/weft";
 * using device = openDevice();
 * const out = await Deno.makeTempDir();
 * const calibration = [1, 2, 3];
 * quantizeCheckpoint({ model: "models/demo", method: "int4", out, calibration, device });
 * ```
 */
export function quantizeCheckpoint(options: QuantizeCheckpointOptions): QuantizedCheckpoint {
  const { model, out, calibration, device, mapped, onProgress = () => {} } = options;
  const { config, groupSize, quantizedConfig } = readConfigs(options);
  using checkpoint = Checkpoint.open(model, config, { mapped });
  checkpoint.verify(config);
  const parameters = parameterShapes(config);
  const weights = new ScaledWeights(checkpoint, parameters);
  const { quantization } = parseModelConfig(quantizedConfig, { source: "the written config" });
  const planned = parameters.map((parameter) =>
    quantizeParameter(parameter, { checkpoint, weights, quantization: quantization! })
  );
  return writeFolder(out, (folder) => {
    let scaledInputs = 0;
    if (groupSize !== null) {
      const source = { device, weights: checkpoint, tokenIds: calibration };
      scaledInputs = weights.search(config, {
        inputs: captureLayerInputs(config, source),
        device,
        groupSize,
        onLayer: (index) => onProgress(SEARCH_SHARE * (index + 1) / config.numLayers),
      });
    }
    const tensors = planned.flatMap((parameter) => parameter.tensors);
    using writer = new CheckpointWriter(folder, { tensors, maxShardBytes: options.maxShardBytes });
    const begin = groupSize === null ? 0 : SEARCH_SHARE;
    planned.forEach(({ data }, index) => {
      for (const part of data()) writer.write(part);
      onProgress(begin + (1 - begin) * (index + 1) / planned.length);
    });
    writer.finish();
    copyOtherFiles(model, folder);
    Deno.writeTextFileSync(
      `${folder}/config.json`,
      `${JSON.stringify(quantizedConfig, null, 2)}\n`,
    );
    const { byteLength: bytes, files } = writer;
    return { groupSize, scaledInputs, bytes, bytesBefore: checkpoint.byteLength, files };
  });
}

/** The config of the dense checkpoint, and of the one that is to be written. */
function readConfigs({ model, method, ...options }: QuantizeCheckpointOptions): {
  config: ModelConfig;
  groupSize: number | null;
  quantizedConfig: JsonObject;
} {
  const source = `${model}/config.json`;
  const json = readJsonFile(source, MAX_CONFIG_BYTES);
  const config = parseModelConfig(json, { source });
  if (config.quantization) {
    throw new Error(
      `Cannot quantise ${model} as it is quantised already: ${config.quantization.method}`,
    );
  }
  const parameters = parameterShapes(config);
  const groupSize = method === "int8" ? null : groupSizeOf(parameters, options.groupSize);
  const quantization = quantizationJson({ groupSize, denseLayers: routers(config, parameters) });
  return { config, groupSize, quantizedConfig: { ...json, quantization_config: quantization } };
}

/** Readers of inputs that are no linear layers of their own: they choose experts. */
function routers(config: ModelConfig, parameters: readonly ParameterShape[]): string[] {
  const layers = new Set(parameters.flatMap(({ layer }) => layer ? [layer.name] : []));
  return Array.from({ length: config.numLayers }, (_, index) => index)
    .flatMap((index) => familyOf(config).sharedInputs(config, index))
    .flatMap(({ readers }) => readers.filter((name) => !layers.has(name)));
}

/** The group that was asked for, or the largest that fits; throws RangeError when it divides not all. */
function groupSizeOf(parameters: readonly ParameterShape[], asked: number | undefined): number {
  const layers = parameters.flatMap(({ layer }) =>
    layer && layer.name !== "lm_head" ? [layer] : []
  );
  const odd = (size: number) => layers.find(({ inFeatures }) => inFeatures % size !== 0);
  const fitting = GROUP_SIZES.filter((size) => odd(size) === undefined);
  const size = asked ?? fitting[0] ?? GROUP_SIZES.at(-1)!;
  const layer = odd(size);
  if (layer === undefined) return size;
  throw new RangeError(
    `Cannot cut the inputs of ${layer.name} in groups of ${size} as it has ${layer.inFeatures}: ` +
      `sizes that work: ${fitting.join(", ") || `divisors of ${layer.inFeatures}`}`,
  );
}
