import { assert, assertEquals, assertMatch } from "@std/assert";
import { BOS, EOS } from "./fake_replica.ts";
import { eventsOf, testApp } from "./test_server.ts";

const COFFEE = [0xe2, 0x98, 0x95];
const PATH = "/v1/completions";

Deno.test("a completion has OpenAI's shape", async () => {
  const { json, replica } = testApp();
  const { id, created, system_fingerprint, ...body } = await json(PATH, {
    model: "fake",
    prompt: "ab",
  });
  assertMatch(id, /^cmpl-[0-9a-f]{32}$/);
  assert(Math.abs(created - Date.now() / 1000) < 5);
  assertMatch(system_fingerprint, /^fp_[0-9a-f]{12}_[0-9a-f]{8}$/);
  assertEquals(body, {
    object: "text_completion",
    model: "fake",
    weight_version: "fake",
    choices: [{
      index: 0,
      text: "Hi ☕!",
      logprobs: null,
      finish_reason: "stop",
      stop_reason: null,
    }],
    usage: {
      prompt_tokens: 3,
      completion_tokens: 8,
      total_tokens: 11,
      prompt_tokens_details: { cached_tokens: 0 },
    },
  });
  assertEquals(replica.requests[0].promptTokenIds, [BOS, 97, 98]);
});

Deno.test("what a request leaves out is left to the engine", async () => {
  const { json, replica } = testApp();
  await json(PATH, { prompt: "a", temperature: null, seed: null });
  assertEquals(replica.requests[0].sampling, {
    stop: [],
    stopTokenIds: [],
    maxTokens: 16,
    logprobs: null,
    promptLogprobs: null,
  });
});

Deno.test("every sampling field reaches the engine", async () => {
  const { json, replica } = testApp();
  await json(PATH, {
    prompt: "a",
    max_tokens: 3,
    temperature: 0.5,
    top_p: 0.25,
    top_k: -1,
    min_p: 0.125,
    seed: -1,
    stop: "x",
    stop_token_ids: [7],
    presence_penalty: -2,
    frequency_penalty: 0.5,
    repetition_penalty: 1.25,
    logit_bias: { "5": -100, "7": 1.5 },
    bad_words: ["a b"],
    allowed_token_ids: [5, 6],
    min_tokens: 2,
    include_stop_str_in_output: true,
    skip_special_tokens: false,
    ignore_eos: true,
    logprobs: 2,
    echo: true,
  });
  assertEquals(replica.requests[0].sampling, {
    maxTokens: 3,
    temperature: 0.5,
    topP: 0.25,
    topK: 0,
    minP: 0.125,
    seed: 2n ** 64n - 1n,
    stop: ["x"],
    stopTokenIds: [7],
    presencePenalty: -2,
    frequencyPenalty: 0.5,
    repetitionPenalty: 1.25,
    logitBias: { 5: -100, 7: 1.5 },
    badWords: ["a b"],
    allowedTokenIds: [5, 6],
    minTokens: 2,
    includeStopStrInOutput: true,
    skipSpecialTokens: false,
    ignoreEos: true,
    logprobs: 2,
    promptLogprobs: 2,
  });
});

Deno.test("special tokens are left out when asked", async () => {
  const { json, replica } = testApp();
  await json(PATH, { prompt: "a", add_special_tokens: false });
  assertEquals(replica.requests[0].promptTokenIds, [97]);
});

Deno.test("prompts come as text, ids, and lists of either", async () => {
  const cases: [unknown, number[][]][] = [
    ["a", [[BOS, 97]]],
    [[1, 2], [[1, 2]]],
    [["a", "b"], [[BOS, 97], [BOS, 98]]],
    [[[1], [2, 3], [4]], [[1], [2, 3], [4]]],
  ];
  for (const [prompt, expected] of cases) {
    const { json, replica } = testApp();
    const body = await json(PATH, { prompt, return_token_ids: true });
    assertEquals(replica.requests.map((request) => request.promptTokenIds), expected);
    const choices = body.choices.map((choice: { index: number; prompt_token_ids: number[] }) => [
      choice.index,
      choice.prompt_token_ids,
    ]);
    assertEquals(choices, expected.map((ids, index) => [index, ids]));
    assertEquals(body.choices[0].token_ids, [72, 105, 32, ...COFFEE, 33, EOS]);
    assertEquals(body.usage.prompt_tokens, expected.flat().length);
    assertEquals(body.usage.completion_tokens, 8 * expected.length);
  }
});

Deno.test("log-probabilities are parallel lists with offsets", async () => {
  const { json } = testApp({ says: "ab" });
  const { choices: [{ logprobs }] } = await json(PATH, { prompt: [1], logprobs: 2, max_tokens: 2 });
  assertEquals(logprobs, {
    tokens: ["a", "b"],
    token_logprobs: [-0.97, -0.98],
    top_logprobs: [{ a: -0.97, b: -1.97 }, { b: -0.98, c: -1.98 }],
    text_offset: [0, 1],
  });
});

Deno.test("logprobs 0 shows the token alone, and what is impossible stays JSON", async () => {
  const { json } = testApp({ says: "a" });
  const body = { prompt: [1], max_tokens: 1 };
  const none = await json(PATH, { ...body, logprobs: 0 });
  assertEquals(none.choices[0].logprobs.top_logprobs, [{ a: -0.97 }]);
  const many = await json(PATH, { ...body, logprobs: 5 });
  assertEquals(many.choices[0].logprobs.top_logprobs[0].e, -9999);
});

Deno.test("echo with max_tokens 0 gives the prompt's log-probabilities", async () => {
  const { json, replica } = testApp();
  const body = { prompt: "ab", echo: true, logprobs: 1, max_tokens: 0 };
  const { choices: [choice], usage } = await json(PATH, body);
  assertEquals(choice, {
    index: 0,
    text: "ab",
    logprobs: {
      tokens: ["<256>", "a", "b"],
      token_logprobs: [null, -0.97, -0.98],
      top_logprobs: [null, { a: -0.97 }, { b: -0.98 }],
      text_offset: [0, 5, 6],
    },
    finish_reason: "length",
    stop_reason: null,
  });
  assertEquals(usage.completion_tokens, 0);
  assertEquals(replica.requests[0].sampling?.maxTokens, 0);
});

Deno.test("max_tokens 0 works with echo alone, and by itself", async () => {
  const { json, replica } = testApp();
  const echoed = await json(PATH, { prompt: "ab", echo: true, max_tokens: 0 });
  assertEquals([echoed.choices[0].text, echoed.choices[0].logprobs], ["ab", null]);
  const none = await json(PATH, { prompt: "ab", max_tokens: 0 });
  assertEquals([none.choices[0].text, none.choices[0].finish_reason], ["", "length"]);
  for (const { sampling } of replica.requests) assertEquals(sampling?.promptLogprobs, 0);
});

Deno.test("a default output limit shrinks to the room that is left", async () => {
  const { json, replica } = testApp();
  await json(PATH, { prompt: Array(195).fill(1) });
  assertEquals(replica.requests[0].sampling?.maxTokens, 5);
});

Deno.test("echo puts the prompt before the text, ids as decoded", async () => {
  const { json } = testApp({ says: "c" });
  const { choices } = await json(PATH, { prompt: [[BOS, 97], [98]], echo: true, logprobs: 0 });
  assertEquals(choices.map((choice: { text: string }) => choice.text), ["ac", "bc"]);
  assertEquals(choices[1].logprobs.tokens, ["b", "c", "<257>"]);
  assertEquals(choices[1].logprobs.token_logprobs, [null, -0.99, -2.57]);
});

Deno.test("a stream has one event per chunk, then [DONE]", async () => {
  const { post } = testApp({ says: "ab" });
  const response = await post(PATH, {
    prompt: "x",
    stream: true,
    echo: true,
    return_token_ids: true,
    stream_options: { include_usage: true },
  });
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  const events = eventsOf(await response.text());
  assertEquals(events.pop(), "[DONE]");
  const bodies = events.map((event) => JSON.parse(event));
  assertEquals(new Set(bodies.map((body) => body.id)).size, 1);
  const common = { logprobs: null, stop_reason: null, index: 0 };
  assertEquals(bodies.map((body) => body.choices), [
    [{ ...common, text: "xa", finish_reason: null, prompt_token_ids: [BOS, 120], token_ids: [97] }],
    [{ ...common, text: "b", finish_reason: null, token_ids: [98] }],
    [{ ...common, text: "", finish_reason: "stop", token_ids: [EOS] }],
    [],
  ]);
  assertEquals(bodies.map((body) => body.usage?.completion_tokens), [
    undefined,
    undefined,
    undefined,
    3,
  ]);
  assertEquals(bodies[0].usage, null);
});

Deno.test("streamed offsets go on over chunks and choices are told apart", async () => {
  const { post } = testApp({ says: "ab" });
  const response = await post(PATH, {
    prompt: [[1], [2]],
    stream: true,
    logprobs: 0,
    max_tokens: 2,
  });
  const bodies = eventsOf(await response.text()).slice(0, -1).map((event) => JSON.parse(event));
  for (const index of [0, 1]) {
    const choices = bodies.map((body) => body.choices[0]).filter((choice) =>
      choice.index === index
    );
    assertEquals(choices.map((choice) => choice.text).join(""), "ab");
    assertEquals(choices.flatMap((choice) => choice.logprobs.text_offset), [0, 1]);
  }
  assert(bodies.every((body) => !("usage" in body)));
});

Deno.test("without a tokenizer token ids are served and named by number", async () => {
  const { json, post } = testApp({ says: "a" }, { text: null });
  const body = await json(PATH, { prompt: [1], logprobs: 1, max_tokens: 1, echo: true });
  assertEquals(body.choices[0].logprobs.tokens, ["token_id:1", "token_id:97"]);
  for (
    const [request, param] of [[{ prompt: "a" }, "prompt"], [
      { prompt: [1], stop: "x" },
      "stop",
    ]] as const
  ) {
    const response = await post(PATH, request);
    assertEquals([response.status, (await response.json()).error.param], [400, param]);
  }
});
