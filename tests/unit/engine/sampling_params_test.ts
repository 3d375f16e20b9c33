import { assert, assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import {
  DEFAULT_SAMPLING_PARAMS,
  resolveSamplingParams,
  type SamplingParamsInput,
} from "../../../src/engine/sampling_params.ts";
import { UnsupportedRequestError } from "../../../src/engine/types.ts";

const CONTEXT = { vocabSize: 320, maxModelLen: 128, promptLength: 10 };

function refusal(given: unknown, context: Partial<typeof CONTEXT> = {}): UnsupportedRequestError {
  try {
    resolveSamplingParams(given as SamplingParamsInput, { ...CONTEXT, ...context });
  } catch (error) {
    assertInstanceOf(error, UnsupportedRequestError);
    return error;
  }
  throw new Error(`Accepted ${JSON.stringify(given)}`);
}

Deno.test("resolveSamplingParams() fills in the defaults", () => {
  assertEquals(resolveSamplingParams({}, CONTEXT), DEFAULT_SAMPLING_PARAMS);
});

Deno.test("resolveSamplingParams() prefers given over the model's over the library's defaults", () => {
  const defaults = { temperature: 0.6, topP: 0.9, seed: 3, logprobs: 4 };
  const params = resolveSamplingParams({ topP: 0.5, topK: undefined, logprobs: null }, {
    ...CONTEXT,
    defaults,
  });
  assertEquals(params.temperature, 0.6);
  assertEquals(params.topP, 0.5);
  assertEquals(params.topK, 0);
  assertEquals(params.seed, 3n);
  assertEquals(params.logprobs, null);
});

Deno.test("resolveSamplingParams() takes the ends of every range", () => {
  const extremes: SamplingParamsInput[] = [
    { temperature: 0 },
    { temperature: 1e30 },
    { topP: Number.MIN_VALUE },
    { topP: 1 },
    { minP: 0 },
    { minP: 1 },
    { seed: 0 },
    { seed: 2n ** 64n - 1n },
    { seed: null },
    { maxTokens: 1 },
    { maxTokens: 118 },
    { stop: ["x".repeat(1024)] },
    { stop: Array(16).fill("x") },
    { stopTokenIds: [0, 319] },
    { logprobs: -1 },
    { logprobs: 0 },
    { logprobs: 320 },
    { promptLogprobs: 0, maxTokens: 0 },
    { presencePenalty: -2, frequencyPenalty: 2 },
    { repetitionPenalty: 0.01 },
    { repetitionPenalty: 100 },
    { logitBias: { 0: -100, 319: 100 } },
    { badWords: Array(128).fill("x".repeat(256)) },
    { allowedTokenIds: [319] },
    { allowedTokenIds: Array.from({ length: 320 }, (_, id) => id) },
    { minTokens: 118, maxTokens: 118 },
  ];
  for (const given of extremes) resolveSamplingParams(given, CONTEXT);
});

Deno.test("resolveSamplingParams() names the field that it refuses", () => {
  const bad: Record<string, unknown[]> = {
    temperature: [-0.1, NaN, Infinity, 1e39, "1", null, true],
    topK: [-2, 1.5, NaN, "3", null],
    topP: [0, 1.01, -1, NaN, null],
    minP: [-0.01, 1.01, NaN, "0"],
    seed: [-1, 1.5, 2n ** 64n, -1n, 2 ** 53, "7", NaN],
    maxTokens: [-1, 0, 1.5, 119, Infinity, "5", null],
    stop: ["x", [""], [1], ["x".repeat(1025)], Array(17).fill("x"), null],
    stopTokenIds: [[320], [-1], [0.5], ["1"], 3, Array(1025).fill(1)],
    presencePenalty: [-2.01, 2.01, NaN, "1", null],
    frequencyPenalty: [-2.01, 2.01, NaN, "1", null],
    repetitionPenalty: [0, -1, 0.009, 101, NaN, "1", null],
    logitBias: [
      null,
      [],
      5,
      { a: 1 },
      { "-1": 1 },
      { "01": 1 },
      { 1.5: 1 },
      { 320: 1 },
      { 1: 101 },
      { 1: NaN },
      { 1: "1" },
      Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [i, 0])),
    ],
    badWords: ["a", [""], [" "], [1], ["\ud800"], ["x".repeat(257)], Array(129).fill("x"), null],
    allowedTokenIds: [[], [320], [-1], [0.5], ["1"], 3, Array(321).fill(1)],
    minTokens: [-1, 1.5, 17, NaN, "1", null],
    includeStopStrInOutput: [0, "true", null],
    skipSpecialTokens: [1, "false", null],
    ignoreEos: [0, "true", null],
    logprobs: [-2, 321, 0.5, "1"],
    promptLogprobs: [-2, 321, 0.5, true],
    bestOf: [2],
    toString: [1],
  };
  for (const [param, values] of Object.entries(bad)) {
    for (const value of values) {
      const error = refusal({ [param]: value });
      assertEquals(error.param, param);
      assertStringIncludes(error.message, param);
    }
  }
});

Deno.test("resolveSamplingParams() keeps messages short whatever was given", () => {
  assert(refusal({ temperature: "9".repeat(10_000) }).message.length < 200);
});

Deno.test("resolveSamplingParams() checks the model's defaults too", () => {
  try {
    resolveSamplingParams({}, { ...CONTEXT, defaults: { topP: 2 } });
  } catch (error) {
    assertInstanceOf(error, UnsupportedRequestError);
    assertEquals(error.param, "topP");
    return;
  }
  throw new Error("Accepted a wrong default");
});

Deno.test("resolveSamplingParams() cuts a default maxTokens to the context, never an explicit one", () => {
  assertEquals(resolveSamplingParams({}, { ...CONTEXT, promptLength: 120 }).maxTokens, 8);
  assertEquals(
    resolveSamplingParams({}, { ...CONTEXT, defaults: { maxTokens: 4096 } }).maxTokens,
    118,
  );
  assertEquals(refusal({ maxTokens: 16 }, { promptLength: 120 }).param, "maxTokens");
});

Deno.test("resolveSamplingParams() refuses a prompt that is empty or leaves no room", () => {
  assertEquals(refusal({}, { promptLength: 0 }).param, "prompt");
  assertEquals(refusal({}, { promptLength: 128 }).param, "prompt");
  assertEquals(refusal({ maxTokens: 0, promptLogprobs: 0 }, { promptLength: 129 }).param, "prompt");
  const echo = resolveSamplingParams({ maxTokens: 0, promptLogprobs: 0 }, {
    ...CONTEXT,
    promptLength: 128,
  });
  assertEquals(echo.maxTokens, 0);
});

Deno.test("resolveSamplingParams() normalises topK and tiny temperatures", () => {
  for (const topK of [-1, 0, 320, 1000]) {
    assertEquals(resolveSamplingParams({ topK }, CONTEXT).topK, 0);
  }
  assertEquals(resolveSamplingParams({ topK: 319 }, CONTEXT).topK, 319);
  assertEquals(resolveSamplingParams({ temperature: 1e-30 }, CONTEXT).temperature, 0);
  assertEquals(resolveSamplingParams({ temperature: 1e-4 }, CONTEXT).temperature, 1e-4);
});

Deno.test("resolveSamplingParams() bounds the log-probabilities of a whole request", () => {
  const large = { vocabSize: 131_072, maxModelLen: 8192 };
  assertEquals(refusal({ logprobs: -1, maxTokens: 4096 }, large).param, "logprobs");
  assertEquals(
    refusal({ promptLogprobs: -1 }, { ...large, promptLength: 1000 }).param,
    "promptLogprobs",
  );
  resolveSamplingParams({ logprobs: -1, maxTokens: 16 }, { ...CONTEXT, ...large });
});

Deno.test("resolveSamplingParams() answers any value with parameters in range or a refusal", () => {
  const names = Object.keys(DEFAULT_SAMPLING_PARAMS);
  const given = fc.dictionary(
    fc.constantFrom(...names),
    fc.anything({ withBigInt: true, withNullPrototype: true }),
  );
  fc.assert(
    fc.property(given, (input) => {
      try {
        const params = resolveSamplingParams(input as SamplingParamsInput, CONTEXT);
        assertEquals(Object.keys(params).sort(), names.toSorted());
        assert(params.temperature >= 0 && params.topP > 0 && params.topP <= 1);
        assert(params.topK >= 0 && params.topK < 320 && params.minP >= 0 && params.minP <= 1);
        assert(params.maxTokens >= 0 && params.maxTokens <= 118);
      } catch (error) {
        assertInstanceOf(error, UnsupportedRequestError);
        assert(names.includes(error.param ?? ""));
      }
    }),
    { numRuns: 2000, seed: 7 },
  );
});
