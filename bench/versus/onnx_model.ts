/** Random weights of a Llama's shape as an ONNX model, for onnxruntime. */
import type { ModelConfig } from "../../src/models/model_config.ts";
import { OnnxWeights, STANDARD_DEVIATION } from "./onnx_weights.ts";
import { encodeOnnx, type OnnxConstant, type OnnxNode, type OnnxValue } from "./onnx_writer.ts";

/** Formats of weights that onnxruntime multiplies on the CPU. */
export type OnnxFormat = "f32" | "int8" | "int4";

/** Names of the files in a model's folder. */
export const ONNX_FILE = "model.onnx";
const DATA_FILE = "model.onnx.data";

const BLOCK = 32;

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
  using weights = new OnnxWeights(folder, DATA_FILE);
  const graph = new GraphBuilder(options.config, { format: options.format, weights });
  Deno.writeFileSync(`${folder}/${ONNX_FILE}`, graph.build());
}

class GraphBuilder {
  readonly #config: ModelConfig;
  readonly #format: OnnxFormat;
  readonly #weights: OnnxWeights;
  readonly #nodes: OnnxNode[] = [];
  readonly #constants: OnnxConstant[] = [];

  constructor(
    config: ModelConfig,
    options: { readonly format: OnnxFormat; readonly weights: OnnxWeights },
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
