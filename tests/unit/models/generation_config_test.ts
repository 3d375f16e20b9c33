import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ModelLoadError } from "../../../src/models/errors.ts";
import {
  type GenerationConfig,
  parseGenerationConfig,
  readGenerationConfig,
} from "../../../src/models/generation_config.ts";
import type { JsonObject } from "../../../src/models/json_file.ts";
import { withFolder } from "../_folder.ts";

function parse(json: JsonObject): GenerationConfig {
  return parseGenerationConfig(json, { source: "generation_config.json" });
}

Deno.test("published generation configs are read", () => {
  assertEquals(
    parse({
      bos_token_id: 128000,
      do_sample: true,
      eos_token_id: [128001, 128008, 128009],
      temperature: 0.6,
      top_p: 0.9,
      transformers_version: "4.45.0.dev0",
    }),
    {
      bosTokenId: 128000,
      eosTokenIds: [128001, 128008, 128009],
      sampling: { temperature: 0.6, topP: 0.9 },
      ignored: [],
    },
  );
  const qwen = parse({
    bos_token_id: 151643,
    pad_token_id: 151643,
    do_sample: true,
    eos_token_id: [151645, 151643],
    repetition_penalty: 1.1,
    temperature: 0.7,
    top_p: 0.8,
    top_k: 20,
  });
  assertEquals(qwen.sampling, {
    temperature: 0.7,
    topP: 0.8,
    topK: 20,
    repetitionPenalty: 1.1,
  });
  assertEquals(qwen.ignored, []);
  assertEquals(parse({ eos_token_id: 2, _from_model_config: true }).eosTokenIds, [2]);
});

Deno.test("settings at which nothing happens are not reported, others are", () => {
  assertEquals(parse({ repetition_penalty: 1.0, num_beams: 1, suppress_tokens: [] }).ignored, []);
  assertEquals(parse({ num_beams: 4, suppress_tokens: [5], do_sample: false }).ignored, [
    "do_sample=false",
    "num_beams=4",
    "suppress_tokens=[5]",
  ]);
});

Deno.test("absent and null advice leaves the defaults alone", () => {
  assertEquals(parse({ temperature: null, top_k: null }).sampling, {});
  assertEquals(parse({ top_k: -1, min_p: 0.1, max_new_tokens: 9, temperature: 0 }).sampling, {
    temperature: 0,
    topK: 0,
    minP: 0.1,
    maxTokens: 9,
  });
});

Deno.test("wrong types and ranges are refused by name", () => {
  const cases: [string, JsonObject[string]][] = [
    ["temperature", -1],
    ["temperature", "1"],
    ["top_p", 0],
    ["top_p", 1.1],
    ["top_k", 1.5],
    ["top_k", -2],
    ["min_p", 2],
    ["max_new_tokens", 0],
    ["eos_token_id", "2"],
    ["eos_token_id", [[2]]],
  ];
  for (const [key, value] of cases) {
    const error = assertThrows(() => parse({ [key]: value }), ModelLoadError);
    assertStringIncludes(error.message, `generation_config.json as the key "${key}" `);
  }
});

Deno.test("a folder may do without the file, but not with a broken one", () => {
  assertEquals(readGenerationConfig("models/demo").eosTokenIds, [1]);
  withFolder((folder) => {
    assertEquals(readGenerationConfig(folder), {
      bosTokenId: null,
      eosTokenIds: [],
      sampling: {},
      ignored: [],
    });
    Deno.writeTextFileSync(`${folder}/generation_config.json`, "{");
    assertThrows(() => readGenerationConfig(folder), ModelLoadError, folder);
  });
});
