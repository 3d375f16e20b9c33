import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ModelLoadError } from "../../../src/models/errors.ts";
import type { JsonObject } from "../../../src/models/json_file.ts";
import {
  type ModelConfig,
  parseModelConfig,
  readModelConfig,
} from "../../../src/models/model_config.ts";
import { PRESET_NAMES, presetConfig } from "../../../src/models/presets.ts";
import * as published from "./published_configs.ts";
import { withFolder } from "../_folder.ts";

function parse(json: JsonObject): ModelConfig {
  return parseModelConfig(json, { source: "folder/config.json" });
}

/** The message with which a config is refused. */
function refusal(json: unknown): string {
  const error = assertThrows(
    () => parseModelConfig(json, { source: "folder/config.json" }),
    ModelLoadError,
  );
  assertEquals(error.file, "folder/config.json");
  assertStringIncludes(error.message, "Cannot load folder/config.json as ");
  return error.message;
}

Deno.test("Llama 2, 3, 3.2 and SmolLM2 are read", () => {
  const llama2 = parse(published.LLAMA_2_7B);
  assertEquals(llama2, {
    architecture: "LlamaForCausalLM",
    modelType: "llama",
    vocabSize: 32000,
    hiddenSize: 4096,
    intermediateSize: 11008,
    numLayers: 32,
    numHeads: 32,
    numKvHeads: 32,
    headDim: 128,
    maxPositionEmbeddings: 4096,
    normEpsilon: 1e-5,
    tieWordEmbeddings: false,
    attentionBias: false,
    attentionOutputBias: false,
    mlpBias: false,
    qkNorm: false,
    slidingWindows: new Array<number>(32).fill(0),
    rope: { theta: 10000, rotaryDim: 128, scaling: { type: "default" } },
    activation: "silu",
    experts: null,
    quantization: null,
    dtype: "f16",
    bosTokenId: 1,
    eosTokenIds: [2],
  });
  assertEquals(parse(published.LLAMA_3_8B).rope?.theta, 500000);
  assertEquals(parse(published.LLAMA_3_8B).numKvHeads, 8);
  const llama32 = parse(published.LLAMA_3_2_1B_INSTRUCT);
  assertEquals(llama32.eosTokenIds, [128001, 128008, 128009]);
  assertEquals(llama32.tieWordEmbeddings, true);
  assertEquals(llama32.rope, {
    theta: 500000,
    rotaryDim: 64,
    scaling: {
      type: "llama3",
      factor: 32,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositionEmbeddings: 8192,
    },
  });
  assertEquals(parse(published.SMOLLM2_135M_INSTRUCT).headDim, 64);
});

Deno.test("what transformers 5 saves means what was published", () => {
  assertEquals(parse(published.LLAMA_3_2_1B_RESAVED), parse(published.LLAMA_3_2_1B_INSTRUCT));
  assertEquals(parse(published.QWEN3_0_6B_RESAVED), parse(published.QWEN3_0_6B));
  assertEquals(parse(published.GPT2_RESAVED), parse(published.GPT2));
});

Deno.test("Mistral and Mixtral are read", () => {
  assertEquals(parse(published.MISTRAL_7B_V01).slidingWindows, new Array<number>(32).fill(4096));
  const v03 = parse(published.MISTRAL_7B_V03);
  assertEquals(v03.slidingWindows, new Array<number>(32).fill(0));
  assertEquals(v03.rope?.theta, 1000000);
  const mixtral = parse(published.MIXTRAL_8X7B);
  assertEquals(mixtral.experts, { numExperts: 8, expertsPerToken: 2, normalize: true });
  assertEquals(mixtral.intermediateSize, 14336);
  const { sliding_window: _, ...withoutWindow } = published.MISTRAL_7B_V01;
  assertEquals(parse(withoutWindow).slidingWindows[0], 4096);
  const { sliding_window: __, ...mixtralWithoutWindow } = published.MIXTRAL_8X7B;
  assertEquals(parse(mixtralWithoutWindow).slidingWindows[0], 0);
});

Deno.test("Qwen2 has biases on q, k and v only, Qwen3 norms its heads", () => {
  const qwen2 = parse(published.QWEN2_5_0_5B);
  assertEquals([qwen2.attentionBias, qwen2.attentionOutputBias, qwen2.qkNorm], [
    true,
    false,
    false,
  ]);
  assertEquals(qwen2.slidingWindows, new Array<number>(24).fill(0));
  const qwen3 = parse(published.QWEN3_0_6B);
  assertEquals([qwen3.attentionBias, qwen3.attentionOutputBias, qwen3.qkNorm], [
    false,
    false,
    true,
  ]);
  assertEquals(qwen3.headDim, 128);
});

Deno.test("Qwen's sliding window holds from max_window_layers on, or where layer_types says", () => {
  const sliding = { ...published.QWEN2_5_0_5B, use_sliding_window: true, sliding_window: 1000 };
  assertEquals(
    parse({ ...sliding, max_window_layers: 20 }).slidingWindows,
    Array.from({ length: 24 }, (_, layer) => layer >= 20 ? 1000 : 0),
  );
  const types = Array.from(
    { length: 24 },
    (_, layer) => layer % 2 ? "sliding_attention" : "full_attention",
  );
  assertEquals(
    parse({ ...sliding, layer_types: types }).slidingWindows,
    Array.from({ length: 24 }, (_, layer) => layer % 2 ? 1000 : 0),
  );
  assertStringIncludes(refusal({ ...published.QWEN2_5_0_5B, layer_types: types }), "layer_types");
  assertStringIncludes(refusal({ ...sliding, layer_types: ["full_attention"] }), "24 layers");
  assertStringIncludes(
    refusal({ ...published.MISTRAL_7B_V03, layer_types: new Array(32).fill("chunked_attention") }),
    "layer_types",
  );
  assertStringIncludes(
    refusal({ ...published.MISTRAL_7B_V01, layer_types: new Array(32).fill("full_attention") }),
    'contradicts the key "sliding_window"',
  );
});

Deno.test("GPT-2 of every size is read", () => {
  const gpt2 = parse(published.GPT2);
  assertEquals(gpt2.headDim, 64);
  assertEquals(gpt2.intermediateSize, 3072);
  assertEquals(gpt2.rope, null);
  assertEquals(gpt2.tieWordEmbeddings, true);
  assertEquals([gpt2.attentionBias, gpt2.attentionOutputBias, gpt2.mlpBias], [true, true, true]);
  assertEquals(gpt2.activation, "gelu_tanh");
  assertEquals(gpt2.dtype, "f32");
  assertEquals(parse(published.GPT2_XL).numHeads, 25);
  assertEquals(parse(published.DISTILGPT2).numLayers, 6);
  assertEquals(parse({ ...published.GPT2, n_inner: 1000 }).intermediateSize, 1000);
});

Deno.test("every preset and every fixture is read", () => {
  for (const name of PRESET_NAMES) parse(presetConfig(name));
  assertThrows(() => presetConfig("toString"), RangeError, "the presets are tiny");
  for (const { name } of Deno.readDirSync("tests/fixtures/golden")) {
    assertEquals(readModelConfig(`tests/fixtures/golden/${name}`).numLayers, 4);
  }
  assertEquals(readModelConfig("models/demo").vocabSize, 2048);
});

Deno.test("a key that is not known is refused by name", () => {
  assertEquals(
    refusal({ ...published.LLAMA_2_7B, foo: 1 }),
    'Cannot load folder/config.json as the key "foo" is not implemented for llama: current value is 1',
  );
  const cases: [JsonObject, string, JsonObject[string]][] = [
    [published.LLAMA_2_7B, "attention_multiplier", 0.5],
    [published.LLAMA_2_7B, "auto_map", { AutoModelForCausalLM: "modeling.Model" }],
    [published.LLAMA_2_7B, "n_embd", 1],
    [published.QWEN2_5_0_5B, "dual_chunk_attention_config", {}],
    [published.QWEN2_5_0_5B, "attention_bias", true],
    [published.MISTRAL_7B_V01, "num_local_experts", 8],
    [published.GPT2, "rope_theta", 10000],
    [published.GPT2, "constructor", 1],
  ];
  for (const [json, key, value] of cases) {
    assertStringIncludes(refusal({ ...json, [key]: value }), `the key "${key}" is not implemented`);
  }
});

Deno.test("a feature that is switched off is inert, and refused when on", () => {
  const cases: [JsonObject, string, JsonObject[string], JsonObject[string]][] = [
    [published.LLAMA_2_7B, "pretraining_tp", 1, 2],
    [published.LLAMA_2_7B, "partial_rotary_factor", 1, 0.5],
    [published.LLAMA_2_7B, "sliding_window", null, 128],
    [published.LLAMA_2_7B, "rope_interleaved", false, true],
    [published.LLAMA_2_7B, "is_encoder_decoder", false, true],
    [published.MISTRAL_7B_V01, "attention_bias", false, true],
    [published.QWEN2_5_0_5B, "use_mrope", false, true],
    [published.GPT2, "scale_attn_weights", true, false],
    [published.GPT2, "scale_attn_by_inverse_layer_idx", false, true],
    [published.GPT2, "reorder_and_upcast_attn", false, true],
    [published.GPT2, "add_cross_attention", false, true],
  ];
  for (const [json, key, off, on] of cases) {
    parse({ ...json, [key]: off });
    const message = refusal({ ...json, [key]: on });
    assertStringIncludes(message, `the key "${key}" is implemented for`);
    assertStringIncludes(message, `current value is ${JSON.stringify(on)}`);
  }
});

Deno.test("rope types other than default, linear and llama3 are refused", () => {
  const scaled = (rope_scaling: JsonObject) => ({ ...published.LLAMA_3_8B, rope_scaling });
  assertEquals(parse(scaled({ type: "linear", factor: 4 })).rope?.scaling, {
    type: "linear",
    factor: 4,
  });
  parse(scaled({ type: "linear", rope_type: "linear", factor: 4 }));
  for (const type of ["dynamic", "yarn", "longrope", "toString"]) {
    assertStringIncludes(refusal(scaled({ type, factor: 4 })), `"rope_scaling.type"`);
    assertStringIncludes(refusal(scaled({ rope_type: type })), `"rope_scaling.rope_type"`);
  }
  const llama3 = {
    rope_type: "llama3",
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  parse(scaled(llama3));
  assertStringIncludes(refusal(scaled({ ...llama3, factor: 0 })), `"rope_scaling.factor"`);
  assertStringIncludes(refusal(scaled({ ...llama3, mrope_section: [1] })), "mrope_section");
  assertStringIncludes(refusal(scaled({ ...llama3, high_freq_factor: 1 })), "high_freq_factor");
  assertStringIncludes(refusal(scaled({ type: "linear", rope_type: "llama3" })), "contradicts");
});

Deno.test("two spellings of a key may agree and may not contradict", () => {
  const rope_parameters = { rope_type: "default", rope_theta: 500000 };
  parse({ ...published.LLAMA_3_8B, rope_parameters, dtype: "bfloat16" });
  const contradictions: JsonObject[] = [
    { dtype: "float16" },
    { rope_parameters: { rope_type: "default", rope_theta: 10000 } },
    { rope_parameters, rope_scaling: { type: "linear", factor: 2 } },
  ];
  for (const keys of contradictions) {
    assertStringIncludes(refusal({ ...published.LLAMA_3_8B, ...keys }), "contradicts");
  }
});

Deno.test("a wrong type or range is refused with its key", () => {
  const cases: [string, unknown][] = [
    ["hidden_size", "4096"],
    ["hidden_size", 0],
    ["hidden_size", 4096.5],
    ["hidden_size", -4096],
    ["hidden_size", 1e18],
    ["hidden_size", [4096]],
    ["hidden_size", null],
    ["num_hidden_layers", 100000],
    ["num_attention_heads", 31],
    ["num_key_value_heads", 5],
    ["num_key_value_heads", 64],
    ["vocab_size", 0],
    ["vocab_size", true],
    ["intermediate_size", 2 ** 40],
    ["head_dim", 127],
    ["head_dim", 4096],
    ["max_position_embeddings", 0],
    ["rms_norm_eps", -1],
    ["rms_norm_eps", "1e-5"],
    ["rope_theta", 0],
    ["rope_scaling", "linear"],
    ["tie_word_embeddings", 1],
    ["hidden_act", "gelu"],
    ["hidden_act", "constructor"],
    ["torch_dtype", "int8"],
    ["model_type", "bert"],
    ["model_type", null],
    ["architectures", ["LlamaForSequenceClassification"]],
    ["architectures", "LlamaForCausalLM"],
    ["architectures", []],
    ["eos_token_id", -1],
    ["eos_token_id", [1, "2"]],
    ["bos_token_id", [1, 2]],
  ];
  for (const [key, value] of cases) {
    const message = refusal({ ...published.LLAMA_2_7B, [key]: value });
    assertStringIncludes(message, `the key "${key}" `);
  }
  assertStringIncludes(
    refusal({ ...published.MIXTRAL_8X7B, num_experts_per_tok: 9 }),
    "num_experts_per_tok",
  );
  assertStringIncludes(refusal({ ...published.GPT2, n_head: 7 }), "n_head");
  assertStringIncludes(refusal({ ...published.GPT2, activation_function: "gelu" }), "gelu_new");
  for (const json of [null, [], "llama", 1]) refusal(json);
});

Deno.test("a config.json that cannot be read is refused with its path", () => {
  withFolder((folder) => {
    const reason = () => assertThrows(() => readModelConfig(folder), ModelLoadError).message;
    assertStringIncludes(reason(), `${folder}/config.json`);
    for (
      const [text, expected] of [
        ["{", "malformed"],
        ["[]", "not an object"],
        ['{"a": {"b": 1, "\\u0062": 2}}', 'twice: "b"'],
      ]
    ) {
      Deno.writeTextFileSync(`${folder}/config.json`, text);
      assertStringIncludes(reason(), expected);
    }
    Deno.writeFileSync(`${folder}/config.json`, Uint8Array.of(0x7b, 0xff, 0x7d));
    assertStringIncludes(reason(), "UTF-8");
  });
});
