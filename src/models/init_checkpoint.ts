/**
 * Writes checkpoints with random weights, for benchmarks and tests.
 * @module
 */
import { dtypeBytes, type WeightDType } from "../tensor/dtype.ts";
import { CheckpointWriter } from "./checkpoint_writer.ts";
import type { JsonObject } from "./json_file.ts";
import { parseModelConfig } from "./model_config.ts";
import { type ParameterShape, parameterShapes } from "./parameter_shapes.ts";
import { encodeWeights, RandomWeights } from "./random_weights.ts";
import type { SafetensorsTensor } from "./safetensors_writer.ts";

/** Options of {@linkcode initCheckpoint}. */
export interface InitCheckpointOptions {
  /** A config.json, such as `presetConfig("tiny")`. */
  readonly config: JsonObject;
  /** Unsigned 64-bit seed: same seed, same bytes. */
  readonly seed: bigint;
  /** Storage of the weights. */
  readonly dtype: WeightDType;
  /** Folder to write to; made when it isn't there. */
  readonly out: string;
  /** Bytes of a file at most, unless a single tensor is larger. Default 4 GB. */
  readonly maxShardBytes?: number;
  /** Called while writing with the fraction that is done. */
  readonly onProgress?: (fraction: number) => void;
}

/** What {@linkcode initCheckpoint} wrote. */
export interface InitializedCheckpoint {
  /** Number of parameters. */
  readonly parameters: number;
  /** Bytes of all tensors. */
  readonly bytes: number;
  /** Names of the safetensors files. */
  readonly files: readonly string[];
}

interface Parameter extends ParameterShape, SafetensorsTensor {}

const STORED_NAMES = { f32: "F32", f16: "F16", bf16: "BF16" } as const;
const TORCH_NAMES = { f32: "float32", f16: "float16", bf16: "bfloat16" } as const;

/** Weights written at a time: a few hundred kilobytes, which stay in the cache. */
const CHUNK_WEIGHTS = 1 << 18;

/**
 * Writes a Hugging Face folder (config.json and safetensors, no tokenizer) with random weights: norms
 * 1, all else normal with the config's `initializer_range` (0.02 when absent), biases included so that
 * a lost bias shows. Weights are streamed, never whole in memory. Throws ModelLoadError when the config
 * is not one that weft loads, and Error when the folder holds a checkpoint already.
 *
 * @example
 * ```ts
 * import { initCheckpoint, presetConfig } from "@weft/weft";
 * const out = await Deno.makeTempDir();
 * initCheckpoint({ config: presetConfig("tiny"), seed: 1n, dtype: "bf16", out });
 * ```
 */
export function initCheckpoint(options: InitCheckpointOptions): InitializedCheckpoint {
  const { out, dtype, onProgress, maxShardBytes } = options;
  const { dtype: _, ...config } = options.config;
  config.torch_dtype = TORCH_NAMES[dtype];
  const model = parseModelConfig(config, { source: "the given config" });
  if (model.quantization) {
    throw new Error(
      `Cannot write random weights as the config asks for quantised ones: ${model.quantization.method}`,
    );
  }
  const parameters = parameterShapes(model)
    .map((parameter): Parameter => {
      const count = parameter.shape.reduce((product, size) => product * size, 1);
      const byteLength = count * dtypeBytes(dtype);
      return { ...parameter, dtype: STORED_NAMES[dtype], byteLength };
    });
  const random = new RandomWeights(dtype, {
    seed: options.seed,
    standardDeviation: typeof config.initializer_range === "number"
      ? config.initializer_range
      : 0.02,
  });
  prepareFolder(out);

  using writer = new CheckpointWriter(out, { tensors: parameters, maxShardBytes });
  const { byteLength: bytes, files } = writer;
  let done = 0;
  for (const parameter of parameters) {
    writeParameter(writer, parameter, random);
    done += parameter.byteLength;
    onProgress?.(done / bytes);
  }
  writer.finish();
  // Last, so that an interrupted folder is not taken for a model.
  Deno.writeTextFileSync(`${out}/config.json`, `${JSON.stringify(config, null, 2)}\n`);
  return { parameters: bytes / dtypeBytes(dtype), bytes, files };
}

function prepareFolder(out: string): void {
  Deno.mkdirSync(out, { recursive: true });
  for (const { name } of Deno.readDirSync(out)) {
    if (name === "config.json" || /\.safetensors(\.index\.json)?$/.test(name)) {
      throw new Error(`Cannot write a checkpoint to ${out} as it holds one already: ${name}`);
    }
  }
}

function writeParameter(
  writer: CheckpointWriter,
  parameter: Parameter,
  random: RandomWeights,
): void {
  const width = dtypeBytes(random.dtype);
  const count = parameter.byteLength / width;
  const chunk = width === 2
    ? new Uint16Array(Math.min(count + count % 2, CHUNK_WEIGHTS))
    : new Uint32Array(Math.min(count + count % 2, CHUNK_WEIGHTS));
  const stream = random.stream(parameter.name);
  if (parameter.kind === "norm") chunk.fill(encodeWeights(Float64Array.of(1), random.dtype)[0]);
  for (let written = 0; written < count; written += chunk.length) {
    if (parameter.kind !== "norm") stream.fill(chunk);
    writer.write(chunk.subarray(0, count - written));
  }
}
