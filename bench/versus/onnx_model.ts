/** Random weights of a Llama's shape as an ONNX model, for onnxruntime. */
import type { ModelConfig } from "../../src/models/model_config.ts";
import { RandomWeights, WeightStream } from "../../src/models/random_weights.ts";
import { encodeOnnx, type OnnxConstant, type OnnxNode, type OnnxValue } from "./onnx_writer.ts";

/** Formats of weights that onnxruntime multiplies on the CPU. */
export type OnnxFormat = "f32" | "int8" | "int4";

/** Names of the files in a model's folder. */
export const ONNX_FILE = "model.onnx";
const DATA_FILE = "model.onnx.data";

const STANDARD_DEVIATION = 0.02;
const BLOCK = 32;
const CHUNK_WORDS = 1 << 18;

/** Where constants may begin in the file of weights. */
const ALIGNMENT = 4096;

/** `accuracy_level` of MatMulNBits that rounds activations to int8, the fastest. */
const INT8_ACTIVATIONS = 4;

/** Positions of the tables of the rotary embedding. */
const MAX_POSITIONS = 2048;

/** Writes the model of `config` into `folder`: logits of the last token, keys and values as outputs. */
export function writeOnnx(
  folder: string,
  options: { readonly config: ModelConfig; readonly format: OnnxFormat },
): void {
  Deno.mkdirSync(folder, { recursive: true });
  using weights = new WeightFile(`${folder}/${DATA_FILE}`);
  const graph = new GraphBuilder(options.config, { format: options.format, weights });
  Deno.writeFileSync(`${folder}/${ONNX_FILE}`, graph.build());
}

/** The file of weights. */
class WeightFile implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #normal = new RandomWeights("f32", { seed: 0n, standardDeviation: STANDARD_DEVIATION })
    .stream("onnx");
  readonly #bits = new WeightStream(
    Uint16Array.from({ length: 65536 }, (_, i) => i),
    Uint32Array.of(1, 2, 3, 4),
  );
  #length = 0;

  constructor(path: string) {
    this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
  }

  /** f32 values from `value`, or normally distributed ones. */
  floats(count: number, value?: (index: number) => number): OnnxConstant["data"] {
    return this.#append(4 * count, (words, start) => {
      if (!value) return this.#normal.fill(words);
      const floats = new Float32Array(words.buffer);
      for (let i = 0; i < floats.length; i++) floats[i] = value(start + i);
    });
  }

  /** Random bytes. */
  bytes(count: number): OnnxConstant["data"] {
    return this.#append(count, (words) => this.#bits.fill(new Uint16Array(words.buffer)));
  }

  #append(
    bytes: number,
    fill: (words: Uint32Array<ArrayBuffer>, start: number) => void,
  ): OnnxConstant["data"] {
    const offset = this.#length;
    const chunk = new Uint32Array(CHUNK_WORDS);
    for (let done = 0; done < bytes; done += chunk.byteLength) {
      fill(chunk, done / 4);
      this.#write(new Uint8Array(chunk.buffer, 0, Math.min(chunk.byteLength, bytes - done)));
    }
    this.#write(new Uint8Array((ALIGNMENT - this.#length % ALIGNMENT) % ALIGNMENT));
    return { file: DATA_FILE, offset, bytes };
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) done += this.#file.writeSync(bytes.subarray(done));
    this.#length += bytes.length;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

class GraphBuilder {
  readonly #config: ModelConfig;
  readonly #format: OnnxFormat;
  readonly #weights: WeightFile;
  readonly #nodes: OnnxNode[] = [];
  readonly #constants: OnnxConstant[] = [];

  constructor(
    config: ModelConfig,
    options: { readonly format: OnnxFormat; readonly weights: WeightFile },
  ) {
    this.#config = config;
    this.#format = options.format;
    this.#weights = options.weights;
  }

  build(): Uint8Array {
    const { hiddenSize, vocabSize, numLayers } = this.#config;
    this.#floats("embedding", [vocabSize, hiddenSize]);
    this.#rotaryTables();
    this.#add("Gather", ["embedding", "input_ids"], ["embedded"]);
    let residual = "embedded";
    let normed = this.#norm("norm_0", residual);
    for (let layer = 0; layer < numLayers; layer++) {
      const attended = this.#attention(layer, normed);
      const middle = this.#addAndNorm(`middle_${layer}`, attended, residual);
      const output = this.#feedForward(layer, middle.normed);
      ({ normed, residual } = this.#addAndNorm(`norm_${layer + 1}`, output, middle.residual));
    }
    this.#head(normed);
    return encodeOnnx({
      nodes: this.#nodes,
      constants: this.#constants,
      inputs: [
        { name: "input_ids", type: "i64", sizes: [1, "tokens"] },
        { name: "seqlens_k", type: "i32", sizes: [1] },
        { name: "total_sequence_length", type: "i32", sizes: [1] },
        ...this.#cache("past", "past_tokens"),
      ],
      outputs: [
        { name: "logits", type: "f32", sizes: [1, 1, vocabSize] },
        ...this.#cache("present", "all_tokens"),
      ],
    });
  }

  #cache(prefix: string, tokens: string): OnnxValue[] {
    const { numLayers, numKvHeads, headDim } = this.#config;
    return Array.from(
      { length: numLayers },
      (_, layer) =>
        ["key", "value"].map((kind): OnnxValue => ({
          name: `${prefix}_${layer}_${kind}`,
          type: "f32",
          sizes: [1, numKvHeads, tokens, headDim],
        })),
    ).flat();
  }

  #attention(layer: number, input: string): string {
    const { hiddenSize, numHeads, numKvHeads, headDim } = this.#config;
    const linear = (name: string, source: string, inputs: number, outputs: number) =>
      this.#linear(`layer_${layer}_${name}`, source, { inputs, outputs });
    const inputs = [
      linear("query", input, hiddenSize, numHeads * headDim),
      linear("key", input, hiddenSize, numKvHeads * headDim),
      linear("value", input, hiddenSize, numKvHeads * headDim),
      `past_${layer}_key`,
      `past_${layer}_value`,
      "seqlens_k",
      "total_sequence_length",
      "cosines",
      "sines",
    ];
    const attended = `layer_${layer}_attended`;
    this.#nodes.push({
      operator: "GroupQueryAttention",
      domain: "com.microsoft",
      inputs,
      outputs: [attended, `present_${layer}_key`, `present_${layer}_value`],
      integers: { num_heads: numHeads, kv_num_heads: numKvHeads, do_rotary: 1 },
    });
    return linear("output", attended, numHeads * headDim, hiddenSize);
  }

  #feedForward(layer: number, input: string): string {
    const { hiddenSize, intermediateSize } = this.#config;
    const name = (part: string) => `layer_${layer}_${part}`;
    const wide = { inputs: hiddenSize, outputs: intermediateSize };
    const gate = this.#linear(name("gate"), input, wide);
    const up = this.#linear(name("up"), input, wide);
    this.#add("Sigmoid", [gate], [name("sigmoid")]);
    this.#add("Mul", [gate, name("sigmoid")], [name("silu")]);
    this.#add("Mul", [name("silu"), up], [name("product")]);
    return this.#linear(name("down"), name("product"), {
      inputs: intermediateSize,
      outputs: hiddenSize,
    });
  }

  /** Logits of the last token: what generating needs. */
  #head(input: string): void {
    const { hiddenSize, vocabSize } = this.#config;
    const integers = { last_start: -1n, last_end: 2n ** 62n, last_axis: 1n };
    for (const [name, value] of Object.entries(integers)) {
      const data = new Uint8Array(BigInt64Array.of(value).buffer);
      this.#constants.push({ name, type: "i64", sizes: [1], data });
    }
    this.#add("Slice", [input, ...Object.keys(integers)], ["last"]);
    const logits = this.#linear("head", "last", { inputs: hiddenSize, outputs: vocabSize });
    this.#add("Identity", [logits], ["logits"]);
  }

  #norm(name: string, input: string): string {
    const { hiddenSize, normEpsilon } = this.#config;
    this.#floats(`${name}_weight`, [hiddenSize], () => 1);
    this.#nodes.push({
      operator: "SimplifiedLayerNormalization",
      inputs: [input, `${name}_weight`],
      outputs: [name],
      integers: { stash_type: 1 },
      floats: { epsilon: normEpsilon },
    });
    return name;
  }

  #addAndNorm(
    name: string,
    input: string,
    residual: string,
  ): { normed: string; residual: string } {
    const { hiddenSize, normEpsilon } = this.#config;
    this.#floats(`${name}_weight`, [hiddenSize], () => 1);
    this.#nodes.push({
      operator: "SkipSimplifiedLayerNormalization",
      domain: "com.microsoft",
      inputs: [input, residual, `${name}_weight`],
      outputs: [name, "", "", `${name}_residual`],
      floats: { epsilon: normEpsilon },
    });
    return { normed: name, residual: `${name}_residual` };
  }

  #linear(
    name: string,
    input: string,
    sizes: { readonly inputs: number; readonly outputs: number },
  ): string {
    const { inputs, outputs } = sizes;
    if (this.#format === "f32") {
      this.#floats(`${name}_weight`, [inputs, outputs]);
      this.#add("MatMul", [input, `${name}_weight`], [name]);
      return name;
    }
    const bits = this.#format === "int8" ? 8 : 4;
    const blocks = inputs / BLOCK;
    const blockBytes = BLOCK * bits / 8;
    this.#constants.push({
      name: `${name}_weight`,
      type: "u8",
      sizes: [outputs, blocks, blockBytes],
      data: this.#weights.bytes(outputs * blocks * blockBytes),
    });
    // Of numbers that are spread evenly over 2^bits steps.
    const scale = STANDARD_DEVIATION * Math.sqrt(12) / 2 ** bits;
    this.#floats(`${name}_scales`, [outputs * blocks], () => scale);
    this.#nodes.push({
      operator: "MatMulNBits",
      domain: "com.microsoft",
      inputs: [input, `${name}_weight`, `${name}_scales`],
      outputs: [name],
      integers: {
        K: inputs,
        N: outputs,
        bits,
        block_size: BLOCK,
        accuracy_level: INT8_ACTIVATIONS,
      },
    });
    return name;
  }

  #rotaryTables(): void {
    const { headDim, rope } = this.#config;
    const half = headDim / 2;
    for (const [name, of] of [["cosines", Math.cos], ["sines", Math.sin]] as const) {
      this.#floats(name, [MAX_POSITIONS, half], (index) => {
        const frequency = rope!.theta ** (-2 * (index % half) / headDim);
        return of(Math.floor(index / half) * frequency);
      });
    }
  }

  #floats(name: string, sizes: readonly number[], value?: (index: number) => number): void {
    const count = sizes.reduce((product, size) => product * size, 1);
    this.#constants.push({ name, type: "f32", sizes, data: this.#weights.floats(count, value) });
  }

  #add(operator: string, inputs: readonly string[], outputs: readonly string[]): void {
    this.#nodes.push({ operator, inputs, outputs });
  }
}
