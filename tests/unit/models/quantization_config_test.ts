import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ModelLoadError } from "../../../src/models/errors.ts";
import type { JsonObject } from "../../../src/models/json_file.ts";
import { parseModelConfig } from "../../../src/models/model_config.ts";
import { presetConfig } from "../../../src/models/presets.ts";

function read(quantization_config: JsonObject) {
  const json = { ...presetConfig("tiny"), quantization_config };
  return parseModelConfig(json, { source: "folder/config.json" }).quantization;
}

const AWQ: JsonObject = { quant_method: "awq", bits: 4, group_size: 128, version: "gemm" };
const GPTQ: JsonObject = { quant_method: "gptq", bits: 4, group_size: 128 };

const INTEGERS: JsonObject = {
  actorder: null,
  block_structure: null,
  group_size: null,
  num_bits: 8,
  observer: "minmax",
  observer_kwargs: {},
  symmetric: true,
  type: "int",
};
const WEIGHTS: JsonObject = { ...INTEGERS, dynamic: false, strategy: "channel" };
const ACTIVATIONS: JsonObject = { ...INTEGERS, dynamic: true, strategy: "token" };

function compressed(group: JsonObject = {}, changes: JsonObject = {}): JsonObject {
  const whole: JsonObject = {
    targets: ["Linear"],
    weights: WEIGHTS,
    input_activations: ACTIVATIONS,
  };
  return {
    quant_method: "compressed-tensors",
    format: "int-quantized",
    ignore: ["lm_head"],
    quantization_status: "compressed",
    config_groups: { group_0: { ...whole, output_activations: null, ...group } },
    ...changes,
  };
}

Deno.test("AWQ as AutoAWQ and transformers write it", () => {
  assertEquals(
    read({
      ...AWQ,
      zero_point: true,
      backend: "autoawq",
      do_fuse: false,
      modules_to_not_convert: ["gate"],
    }),
    {
      method: "awq",
      bits: 4,
      groupSize: 128,
      symmetric: false,
      zeroOffset: 0,
      reordered: false,
      denseLayers: ["gate"],
    },
  );
  assertEquals(read({ ...AWQ, version: "GEMM", zero_point: false })?.symmetric, true);
  assertEquals(read({ ...AWQ, modules_to_not_convert: null })?.denseLayers, []);
});

Deno.test("GPTQ of both formats, with what its programs note down", () => {
  assertEquals(
    read({ ...GPTQ, sym: false, desc_act: true, damp_percent: 0.01, true_sequential: true }),
    {
      method: "gptq",
      bits: 4,
      groupSize: 128,
      symmetric: false,
      zeroOffset: 1,
      reordered: true,
      denseLayers: [],
    },
  );
  const second = read({ ...GPTQ, bits: 8, group_size: -1, checkpoint_format: "gptq_v2" });
  assertEquals([second?.bits, second?.groupSize, second?.zeroOffset], [8, null, 0]);
});

Deno.test("compressed-tensors of 8-bit weights and activations", () => {
  assertEquals(read(compressed()), {
    method: "compressed-tensors",
    bits: 8,
    groupSize: null,
    symmetric: true,
    zeroOffset: 0,
    reordered: false,
    denseLayers: ["lm_head"],
  });
});

Deno.test("a checkpoint without the key, or with a null, is dense", () => {
  const quantization = (json: JsonObject) => parseModelConfig(json, { source: "" }).quantization;
  assertEquals(quantization(presetConfig("tiny")), null);
  assertEquals(quantization({ ...presetConfig("tiny"), quantization_config: null }), null);
});

Deno.test("what is not implemented is refused by its key", () => {
  const cases: [JsonObject, string][] = [
    [{ quant_method: "bitsandbytes" }, "quant_method"],
    [{ bits: 4 }, "quant_method"],
    [{ ...AWQ, bits: 3 }, "bits"],
    [{ ...AWQ, bits: 8 }, "bits"],
    [{ ...AWQ, version: "gemv" }, "version"],
    [{ ...AWQ, backend: "llm-awq" }, "backend"],
    [{ ...AWQ, group_size: 0 }, "group_size"],
    [{ ...AWQ, group_size: -2 }, "group_size"],
    [{ ...AWQ, zero_point: 1 }, "zero_point"],
    [{ ...AWQ, desc_act: false }, "desc_act"],
    [{ ...GPTQ, bits: 2 }, "bits"],
    [{ ...GPTQ, checkpoint_format: "marlin" }, "checkpoint_format"],
    [{ ...GPTQ, is_marlin_format: true }, "is_marlin_format"],
    [{ ...GPTQ, dynamic: { "+:q_proj": { bits: 8 } } }, "dynamic"],
    [{ ...GPTQ, rotation: "hadamard" }, "rotation"],
    [compressed({}, { format: "pack-quantized" }), "format"],
    [compressed({}, { kv_cache_scheme: { num_bits: 8 } }), "kv_cache_scheme"],
    [compressed({}, { config_groups: {} }), "config_groups"],
    [compressed({ targets: ["q_proj"] }), "config_groups.group_0.targets"],
    [compressed({ input_activations: null }), "config_groups.group_0.input_activations"],
    [compressed({ output_activations: INTEGERS }), "config_groups.group_0.output_activations"],
    [
      compressed({ weights: { ...WEIGHTS, strategy: "group" } }),
      "config_groups.group_0.weights.strategy",
    ],
    [
      compressed({ weights: { ...WEIGHTS, num_bits: 4 } }),
      "config_groups.group_0.weights.num_bits",
    ],
    [
      compressed({ input_activations: { ...ACTIVATIONS, dynamic: false } }),
      "config_groups.group_0.input_activations.dynamic",
    ],
    [
      compressed({ input_activations: { ...ACTIVATIONS, type: "float" } }),
      "config_groups.group_0.input_activations.type",
    ],
  ];
  for (const [json, key] of cases) {
    const { message } = assertThrows(() => read(json), ModelLoadError);
    assertStringIncludes(message, `the key "quantization_config.${key}"`);
    assertStringIncludes(message, "folder/config.json");
  }
});
