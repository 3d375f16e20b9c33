/** Random weights of a Llama's shape as a GGUF file, for the peers. */
import type { ModelConfig } from "../../src/models/model_config.ts";
import { encodeWeights, RandomWeights, WeightStream } from "../../src/models/random_weights.ts";
import {
  blockBytes,
  type GgufTensor,
  type GgufType,
  type GgufValue,
  GgufWriter,
  tensorBytes,
} from "./gguf_writer.ts";

/** Storage of the matrices of a file, by the names of llama.cpp. */
export type GgufFormat = "F32" | "BF16" | "Q8_0" | "Q4_0";

const STANDARD_DEVIATION = 0.02;
const CHUNK_BYTES = 1 << 20;

/** Kinds of tokens: llama.cpp's vocabulary needs the bytes. */
const TOKEN_TYPES = { normal: 1, unknown: 2, control: 3, byte: 6 } as const;
const CONTROL_TOKENS = ["<unk>", "<s>", "</s>"];

/** Writes the model of `config` to `path`; throws RangeError when it is not shaped like Llama. */
export function writeGguf(
  path: string,
  options: { readonly config: ModelConfig; readonly format: GgufFormat },
): void {
  const { config, format } = options;
  const tensors = ggufTensors(config, format);
  using writer = new GgufWriter(path, { metadata: ggufMetadata(config), tensors });
  const fillers = new Map<GgufType, (chunk: Uint8Array<ArrayBuffer>) => void>();
  for (const { name, type } of tensors) {
    const filler = fillers.get(type) ?? blockFiller(type);
    fillers.set(type, filler);
    const isOnes = name.endsWith("norm.weight") || name === "rope_freqs.weight";
    writeTensor(writer, isOnes ? (chunk) => new Float32Array(chunk.buffer).fill(1) : filler);
  }
  writer.finish();
}

/** Bytes of all weights. */
export function ggufBytes(config: ModelConfig, format: GgufFormat): number {
  return ggufTensors(config, format).reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
}

/** Bytes of the weights that one decoded token reads: all but an embedding that is no head. */
export function ggufBytesPerToken(config: ModelConfig, format: GgufFormat): number {
  return ggufTensors(config, format)
    .filter(({ name }) => name !== "token_embd.weight" || config.tieWordEmbeddings)
    .reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
}

/** The tensors of a file, in its order. */
export function ggufTensors(config: ModelConfig, format: GgufFormat): GgufTensor[] {
  checkShape(config);
  const { hiddenSize, intermediateSize, vocabSize, headDim } = config;
  const queries = config.numHeads * headDim;
  const keys = config.numKvHeads * headDim;
  const head = headType(format, hiddenSize);
  const matrix = (name: string, columns: number, rows: number, type: GgufType = format) => ({
    name: `${name}.weight`,
    sizes: [columns, rows],
    type,
  });
  const vector = (name: string, size: number): GgufTensor => ({
    name: `${name}.weight`,
    sizes: [size],
    type: "F32",
  });
  const tensors: GgufTensor[] = [
    matrix("token_embd", hiddenSize, vocabSize, config.tieWordEmbeddings ? head : format),
    vector("output_norm", hiddenSize),
  ];
  if (!config.tieWordEmbeddings) tensors.push(matrix("output", hiddenSize, vocabSize, head));
  // Real files hold the factors of Llama 3's scaling here; ones cost the same time.
  if (config.rope?.scaling.type === "llama3") tensors.push(vector("rope_freqs", headDim / 2));
  for (let layer = 0; layer < config.numLayers; layer++) {
    const block = `blk.${layer}`;
    tensors.push(
      vector(`${block}.attn_norm`, hiddenSize),
      matrix(`${block}.attn_q`, hiddenSize, queries),
      matrix(`${block}.attn_k`, hiddenSize, keys),
      matrix(`${block}.attn_v`, hiddenSize, keys),
      matrix(`${block}.attn_output`, queries, hiddenSize),
      vector(`${block}.ffn_norm`, hiddenSize),
      matrix(`${block}.ffn_gate`, hiddenSize, intermediateSize),
      matrix(`${block}.ffn_up`, hiddenSize, intermediateSize),
      matrix(`${block}.ffn_down`, intermediateSize, hiddenSize),
    );
  }
  return tensors;
}

/** What llama-quantize makes of the output head: Q4_0 files keep it finer. */
function headType(format: GgufFormat, hiddenSize: number): GgufType {
  if (format !== "Q4_0") return format;
  return hiddenSize % 256 === 0 ? "Q6_K" : "Q8_0";
}

function checkShape(config: ModelConfig): void {
  const { modelType, experts, attentionBias, attentionOutputBias, mlpBias, qkNorm } = config;
  if (
    modelType !== "llama" || experts || attentionBias || attentionOutputBias || mlpBias || qkNorm
  ) {
    throw new RangeError(
      `Cannot write a GGUF file as the model is not a plain Llama: ${modelType}`,
    );
  }
}

function ggufMetadata(config: ModelConfig): Record<string, GgufValue> {
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const f32 = (value: number): GgufValue => ({ type: "f32", value });
  const string = (value: string): GgufValue => ({ type: "string", value });
  const { tokens, types } = vocabulary(config.vocabSize);
  return {
    "general.architecture": string("llama"),
    "general.name": string("random weights"),
    "llama.vocab_size": u32(config.vocabSize),
    "llama.context_length": u32(config.maxPositionEmbeddings),
    "llama.embedding_length": u32(config.hiddenSize),
    "llama.block_count": u32(config.numLayers),
    "llama.feed_forward_length": u32(config.intermediateSize),
    "llama.attention.head_count": u32(config.numHeads),
    "llama.attention.head_count_kv": u32(config.numKvHeads),
    "llama.attention.key_length": u32(config.headDim),
    "llama.attention.value_length": u32(config.headDim),
    "llama.attention.layer_norm_rms_epsilon": f32(config.normEpsilon),
    "llama.rope.dimension_count": u32(config.headDim),
    "llama.rope.freq_base": f32(config.rope!.theta),
    "tokenizer.ggml.model": string("llama"),
    "tokenizer.ggml.tokens": { type: "strings", value: tokens },
    "tokenizer.ggml.scores": { type: "f32s", value: tokens.map((_, id) => -id) },
    "tokenizer.ggml.token_type": { type: "i32s", value: types },
    "tokenizer.ggml.unknown_token_id": u32(0),
    "tokenizer.ggml.bos_token_id": u32(1),
    "tokenizer.ggml.eos_token_id": u32(2),
    "tokenizer.ggml.add_bos_token": { type: "bool", value: false },
  };
}

/** Made-up words: prompts are token ids. */
function vocabulary(size: number): { tokens: string[]; types: number[] } {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const special = [...CONTROL_TOKENS, ...bytes];
  if (size < special.length) {
    throw new RangeError(`Cannot make a vocabulary as it needs ${special.length} entries: ${size}`);
  }
  const { normal, unknown, control, byte } = TOKEN_TYPES;
  return {
    tokens: Array.from({ length: size }, (_, id) => special[id] ?? `\u2581w${id}`),
    types: Array.from(
      { length: size },
      (_, id) => id === 0 ? unknown : id < 3 ? control : id < special.length ? byte : normal,
    ),
  };
}

function writeTensor(
  writer: GgufWriter,
  fill: (chunk: Uint8Array<ArrayBuffer>) => void,
): void {
  const tensor = writer.begin();
  const width = blockBytes(tensor.type);
  // An even number of blocks, as weights are drawn in pairs.
  const chunkBytes = Math.floor(CHUNK_BYTES / width / 2) * 2 * width;
  for (let left = tensorBytes(tensor); left > 0; left -= chunkBytes) {
    const chunk = new Uint8Array(chunkBytes);
    fill(chunk);
    writer.write(chunk.subarray(0, Math.min(left, chunkBytes)));
  }
}

/** Fills chunks with random blocks of `type`, whose weights have the usual standard deviation. */
function blockFiller(type: GgufType): (chunk: Uint8Array<ArrayBuffer>) => void {
  if (type === "F32" || type === "BF16") {
    const dtype = type === "F32" ? "f32" : "bf16";
    const stream = new RandomWeights(dtype, { seed: 0n, standardDeviation: STANDARD_DEVIATION })
      .stream(type);
    return ({ buffer }) =>
      stream.fill(dtype === "f32" ? new Uint32Array(buffer) : new Uint16Array(buffer));
  }
  const width = blockBytes(type);
  const random = new WeightStream(
    Uint16Array.from({ length: 65536 }, (_, i) => i),
    Uint32Array.of(1, 2, 3, 4),
  );
  const { scaleAt, levels, subScales } = BLOCKS[type];
  // Of numbers that are spread evenly over `levels` steps.
  const scale = STANDARD_DEVIATION / (levels / Math.sqrt(12));
  const [bits] = encodeWeights(Float64Array.of(scale), "f16");
  return (chunk) => {
    random.fill(new Uint16Array(chunk.buffer));
    const view = new DataView(chunk.buffer);
    for (let block = 0; block < chunk.length; block += width) {
      view.setUint16(block + scaleAt, bits, true);
      if (subScales) chunk.fill(1, block + subScales.at, block + subScales.at + subScales.count);
    }
  };
}

/** Where a block's scale lies (and the scales of its parts), and how many values a weight can have. */
const BLOCKS: Readonly<
  Record<"Q8_0" | "Q4_0" | "Q6_K", {
    readonly scaleAt: number;
    readonly levels: number;
    readonly subScales?: { readonly at: number; readonly count: number };
  }>
> = {
  Q8_0: { scaleAt: 0, levels: 256 },
  Q4_0: { scaleAt: 0, levels: 16 },
  Q6_K: { scaleAt: 208, levels: 64, subScales: { at: 192, count: 16 } },
};
