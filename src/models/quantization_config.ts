/**
 * How a checkpoint's linear layers are quantised, as the `quantization_config` of config.json says.
 * @module
 */
import type { ConfigReader, KnownKeys } from "./config_reader.ts";

/** A checkpoint's quantisation. Plain data. */
export interface QuantizationConfig {
  /** Format of the stored tensors, by its `quant_method`. */
  readonly method: "awq" | "gptq" | "compressed-tensors";
  /** Width of a stored weight. */
  readonly bits: 4 | 8;
  /** Input features that share a scale; null: all of a layer. */
  readonly groupSize: number | null;
  /** Whether weights are centred, so that zeros may be left out. */
  readonly symmetric: boolean;
  /** What is added to a stored zero. */
  readonly zeroOffset: 0 | 1;
  /** Whether inputs are assigned to groups in any order (GPTQ's act-order). */
  readonly reordered: boolean;
  /** Layers that are announced to be dense: parts of their names. The files have the last word. */
  readonly denseLayers: readonly string[];
}

/** Groups of up to as many input features as a layer can have. */
const GROUP_SIZE = { min: -1, max: 2 ** 20 };

/**
 * Reads the key `quantization_config`; null when the checkpoint is dense. Throws ModelLoadError naming
 * the key that asks for what is not implemented.
 */
export function readQuantization(reader: ConfigReader): QuantizationConfig | null {
  const keys = reader.object("quantization_config");
  if (keys === null) return null;
  const formats = { awq: readAwq, gptq: readGptq, "compressed-tensors": readCompressedTensors };
  return keys.choice("quant_method", formats, "")(keys);
}

const AWQ_KEYS: KnownKeys = {
  inert: [
    // How another program fuses and runs its layers.
    "do_fuse",
    "fuse_max_seq_len",
    "modules_to_fuse",
    "exllama_config",
  ],
  inertAt: { backend: ["autoawq", "auto", null] },
};

/** AutoAWQ's GEMM layout (arXiv 2306.00978). */
function readAwq(keys: ConfigReader): QuantizationConfig {
  keys.choice("version", { gemm: "gemm", GEMM: "gemm" }, "gemm");
  const config: QuantizationConfig = {
    method: "awq",
    bits: readBits(keys, [4]),
    groupSize: readGroupSize(keys),
    symmetric: !keys.boolean("zero_point", true),
    zeroOffset: 0,
    reordered: false,
    denseLayers: keys.strings("modules_to_not_convert") ?? [],
  };
  keys.finish(AWQ_KEYS, "awq");
  return config;
}

const GPTQ_KEYS: KnownKeys = {
  inert: [
    // How the weights were found.
    "dataset",
    "tokenizer",
    "model_seqlen",
    "damp_percent",
    "damp_auto_increment",
    "true_sequential",
    "static_groups",
    "batch_size",
    "pad_token_id",
    "model_name_or_path",
    "model_file_base_name",
    "block_name_to_quantize",
    "module_name_preceding_first_block",
    "modules_in_block_to_quantize",
    "meta",
    "mse",
    "act_group_aware",
    // How another program runs them.
    "backend",
    "use_exllama",
    "disable_exllama",
    "exllama_config",
    "max_input_length",
    "use_cuda_fp16",
    "cache_block_outputs",
    // The files say which layers are quantised, the head included.
    "lm_head",
  ],
  inertAt: {
    is_marlin_format: [false],
    pack_dtype: ["int32", null],
    dynamic: [{}, null],
    adapter: [{}, null],
  },
};

/** GPTQ (arXiv 2210.17323); its first layout stores zeros less one. */
function readGptq(keys: ConfigReader): QuantizationConfig {
  const offsets = { gptq: 1, gptq_v2: 0 } as const;
  const config: QuantizationConfig = {
    method: "gptq",
    bits: readBits(keys, [4, 8]),
    groupSize: readGroupSize(keys),
    symmetric: keys.boolean("sym", true),
    zeroOffset: keys.choice("checkpoint_format", offsets, "gptq"),
    reordered: keys.boolean("desc_act", false),
    denseLayers: keys.strings("modules_to_not_convert") ?? [],
  };
  keys.finish(GPTQ_KEYS, "gptq");
  return config;
}

const COMPRESSED_KEYS: KnownKeys = {
  inert: ["version", "global_compression_ratio", "quantization_status"],
  inertAt: {
    kv_cache_scheme: [null],
    sparsity_config: [{}, null],
    transform_config: [{}, null],
  },
};

/** The `int-quantized` format of compressed-tensors with 8-bit weights and activations (W8A8). */
function readCompressedTensors(keys: ConfigReader): QuantizationConfig {
  keys.choice("format", { "int-quantized": true }, "");
  const groups = keys.object("config_groups");
  const names = groups?.keys() ?? [];
  if (names.length !== 1) keys.refuse("config_groups", "is implemented only with one group");
  readScheme(groups!.object(names[0])!);
  const config: QuantizationConfig = {
    method: "compressed-tensors",
    bits: 8,
    groupSize: null,
    symmetric: true,
    zeroOffset: 0,
    reordered: false,
    denseLayers: keys.strings("ignore") ?? [],
  };
  keys.finish(COMPRESSED_KEYS, "compressed-tensors");
  return config;
}

/** Symmetric integers of 8 bits. */
const INTEGERS: KnownKeys = {
  inert: ["observer", "observer_kwargs"],
  inertAt: {
    symmetric: [true],
    actorder: [null],
    block_structure: [null],
    group_size: [null],
    scale_dtype: [null],
    zp_dtype: [null, "torch.int8"],
  },
};

/** One group of layers: a scale for each output, and activations that are scaled token by token. */
function readScheme(scheme: ConfigReader): void {
  const targets = scheme.strings("targets") ?? [];
  if (targets.length !== 1 || targets[0] !== "Linear") {
    scheme.refuse("targets", 'is implemented only as ["Linear"]');
  }
  const weights = scheme.object("weights");
  const activations = scheme.object("input_activations");
  if (weights === null) scheme.refuse("weights", "is required");
  if (activations === null) scheme.refuse("input_activations", "is required");
  weights.choice("strategy", { channel: true }, "");
  if (weights.boolean("dynamic", false)) weights.refuse("dynamic", "is implemented only as false");
  activations.choice("strategy", { token: true }, "");
  if (!activations.boolean("dynamic", false)) {
    activations.refuse("dynamic", "is implemented only as true");
  }
  for (const integers of [weights, activations]) {
    readBits(integers, [8], "num_bits");
    integers.choice("type", { int: true }, "");
    integers.finish(INTEGERS, "compressed-tensors");
  }
  scheme.finish({
    inert: [],
    inertAt: { output_activations: [null], format: [null, "int-quantized"] },
  }, "compressed-tensors");
}

function readBits<Bits extends number>(
  keys: ConfigReader,
  widths: readonly Bits[],
  key = "bits",
): Bits {
  const bits = keys.integer(key, { min: 1, max: 64 });
  return widths.find((width) => width === bits) ??
    keys.refuse(key, `is implemented only as ${widths.join(" or ")}`);
}

/** Input features of a group; -1 in the file means all. */
function readGroupSize(keys: ConfigReader): number | null {
  const size = keys.integer("group_size", GROUP_SIZE);
  if (size === 0) keys.refuse("group_size", "is not a number of features");
  return size === -1 ? null : size;
}
