import fc from "fast-check";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { EngineDeadError, UnsupportedRequestError } from "../../src/engine/types.ts";
import { RequestGate } from "../../src/serving/mod.ts";
import { eventsOf, testApp } from "./test_server.ts";

const COMPLETIONS = "/v1/completions";
const CHAT = "/v1/chat/completions";
const user = { role: "user", content: "q" };

/** Fields added to a good completion request, and the field that the 400 must blame. */
const BAD_COMPLETIONS: readonly [Record<string, unknown>, string][] = [
  [{ foo: 1 }, "foo"],
  [{ ["x".repeat(5000)]: 1 }, "x".repeat(200)],
  [{ max_completion_tokens: 1 }, "max_completion_tokens"],
  [{ messages: [] }, "messages"],
  [{ prompt: undefined }, "prompt"],
  [{ prompt: null }, "prompt"],
  [{ prompt: 5 }, "prompt"],
  [{ prompt: {} }, "prompt"],
  [{ prompt: [] }, "prompt"],
  [{ prompt: [[]] }, "prompt"],
  [{ prompt: ["a", 1] }, "prompt"],
  [{ prompt: [1, "a"] }, "prompt"],
  [{ prompt: [[1], "a"] }, "prompt"],
  [{ prompt: [-1] }, "prompt"],
  [{ prompt: [1.5] }, "prompt"],
  [{ prompt: [258] }, "prompt"],
  [{ prompt: "\ud800" }, "prompt"],
  [{ prompt: "", add_special_tokens: false }, "prompt"],
  [{ prompt: Array(129).fill("a") }, "prompt"],
  [{ prompt: "x".repeat(200) }, "prompt"],
  [{ model: 5 }, "model"],
  [{ max_tokens: -1 }, "max_tokens"],
  [{ max_tokens: 1.5 }, "max_tokens"],
  [{ max_tokens: "16" }, "max_tokens"],
  [{ max_tokens: 200 }, "max_tokens"],
  [{ max_tokens: 2 ** 40 }, "max_tokens"],
  [{ temperature: -0.1 }, "temperature"],
  [{ temperature: 2.1 }, "temperature"],
  [{ temperature: "hot" }, "temperature"],
  [{ top_p: 0 }, "top_p"],
  [{ top_p: 1.1 }, "top_p"],
  [{ top_k: -2 }, "top_k"],
  [{ top_k: 0.5 }, "top_k"],
  [{ min_p: 2 }, "min_p"],
  [{ seed: 0.5 }, "seed"],
  [{ seed: 2 ** 60 }, "seed"],
  [{ stop: "" }, "stop"],
  [{ stop: 5 }, "stop"],
  [{ stop: ["a", ""] }, "stop[1]"],
  [{ stop: ["\udc00"] }, "stop[0]"],
  [{ stop: Array(17).fill("a") }, "stop"],
  [{ stop: "a".repeat(1025) }, "stop"],
  [{ stop_token_ids: [258] }, "stop_token_ids"],
  [{ stop_token_ids: [-1] }, "stop_token_ids[0]"],
  [{ stop_token_ids: Array(1025).fill(1) }, "stop_token_ids"],
  [{ priority: 0.5 }, "priority"],
  [{ priority: 2 ** 31 }, "priority"],
  [{ cache_salt: "" }, "cache_salt"],
  [{ cache_salt: 5 }, "cache_salt"],
  [{ cache_salt: "x".repeat(1025) }, "cache_salt"],
  [{ cache_prompt: 1 }, "cache_prompt"],
  [{ logprobs: 21 }, "logprobs"],
  [{ logprobs: -1 }, "logprobs"],
  [{ logprobs: true }, "logprobs"],
  [{ n: 0 }, "n"],
  [{ n: 129 }, "n"],
  [{ n: 1.5 }, "n"],
  [{ n: 65, prompt: ["a", "b"] }, "n"],
  [{ n: 3, best_of: 2 }, "best_of"],
  [{ best_of: 129 }, "best_of"],
  [{ best_of: 2, stream: true }, "best_of"],
  [{ best_of: 65, prompt: ["a", "b"] }, "best_of"],
  [{ prompt_logprobs: 21 }, "prompt_logprobs"],
  [{ prompt_logprobs: -1 }, "prompt_logprobs"],
  [{ prompt_logprobs: 1, stream: true }, "prompt_logprobs"],
  [{ truncate_prompt_tokens: 0 }, "truncate_prompt_tokens"],
  [{ return_tokens_as_token_ids: 1 }, "return_tokens_as_token_ids"],
  [
    { stream: true, stream_options: { continuous_usage_stats: true } },
    "stream_options.continuous_usage_stats",
  ],
  [{ echo: "yes" }, "echo"],
  [{ stream: 1 }, "stream"],
  [{ stream_options: { include_usage: true } }, "stream_options"],
  [{ stream: true, stream_options: { foo: 1 } }, "stream_options.foo"],
  [{ stream: true, stream_options: { include_usage: 1 } }, "stream_options.include_usage"],
  [{ return_token_ids: 1 }, "return_token_ids"],
  [{ presence_penalty: 2.1 }, "presence_penalty"],
  [{ presence_penalty: "1" }, "presence_penalty"],
  [{ frequency_penalty: -2.1 }, "frequency_penalty"],
  [{ repetition_penalty: 0 }, "repetition_penalty"],
  [{ repetition_penalty: 101 }, "repetition_penalty"],
  [{ logit_bias: [1] }, "logit_bias"],
  [{ logit_bias: { a: 1 } }, "logit_bias.a"],
  [{ logit_bias: { "01": 1 } }, "logit_bias.01"],
  [{ logit_bias: { "-1": 1 } }, "logit_bias.-1"],
  [{ logit_bias: { 5: 101 } }, "logit_bias.5"],
  [{ logit_bias: { 5: null } }, "logit_bias.5"],
  [{ logit_bias: { 1000000: 1 } }, "logit_bias"],
  [
    { logit_bias: Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [i, 1])) },
    "logit_bias",
  ],
  [{ bad_words: "a" }, "bad_words"],
  [{ bad_words: [""] }, "bad_words[0]"],
  [{ bad_words: ["a", "  "] }, "bad_words[1]"],
  [{ bad_words: ["\ud800"] }, "bad_words[0]"],
  [{ bad_words: ["a".repeat(257)] }, "bad_words[0]"],
  [{ bad_words: Array(129).fill("a") }, "bad_words"],
  [{ allowed_token_ids: [] }, "allowed_token_ids"],
  [{ allowed_token_ids: [-1] }, "allowed_token_ids[0]"],
  [{ allowed_token_ids: [1.5] }, "allowed_token_ids[0]"],
  [{ allowed_token_ids: [1000000] }, "allowed_token_ids"],
  [{ min_tokens: -1 }, "min_tokens"],
  [{ min_tokens: 17 }, "min_tokens"],
  [{ min_tokens: 3, max_tokens: 2 }, "min_tokens"],
  [{ include_stop_str_in_output: 1 }, "include_stop_str_in_output"],
  [{ skip_special_tokens: "no" }, "skip_special_tokens"],
  [{ ignore_eos: "no" }, "ignore_eos"],
  [{ add_special_tokens: 1 }, "add_special_tokens"],
  [{ user: 5 }, "user"],
  [{ metadata: { a: 1 } }, "metadata.a"],
];

const BAD_CHATS: readonly [Record<string, unknown>, string][] = [
  [{ bar: 1 }, "bar"],
  [{ prompt: "a" }, "prompt"],
  [{ messages: undefined }, "messages"],
  [{ messages: "a" }, "messages"],
  [{ messages: Array(4097).fill(user) }, "messages"],
  [
    { messages: [{ ...user, content: Array(1025).fill({ type: "text", text: "a" }) }] },
    "messages[0].content",
  ],
  [{ messages: [] }, "messages"],
  [{ messages: [{ role: "robot", content: "a" }] }, "messages[0].role"],
  [{ messages: [{ content: "a" }] }, "messages[0].role"],
  [{ messages: [user, { role: "user" }] }, "messages[1].content"],
  [{ messages: [{ ...user, content: null }] }, "messages[0].content"],
  [{ messages: [{ ...user, content: [] }] }, "messages[0].content"],
  [{ messages: [{ ...user, content: "\ud800" }] }, "messages[0].content"],
  [{ messages: [{ ...user, content: [{ type: "text" }] }] }, "messages[0].content[0].text"],
  [{ messages: [{ ...user, foo: 1 }] }, "messages[0].foo"],
  [{ messages: [{ role: "tool", content: "a" }] }, "messages[0].tool_call_id"],
  [{ messages: [{ role: "tool", content: "a", tool_call_id: "1" }] }, "messages"],
  [
    { messages: [{ ...user, content: [{ type: "image_url", image_url: { url: "http://a" } }] }] },
    "messages[0].content[0].type",
  ],
  [
    { messages: [{ role: "assistant", content: "a", tool_calls: [{}] }] },
    "messages[0].tool_calls",
  ],
  [{ messages: [{ ...user, content: "x".repeat(200) }] }, "messages"],
  [{ max_tokens: 0 }, "max_tokens"],
  [{ max_tokens: 200 }, "max_tokens"],
  [{ max_completion_tokens: 200 }, "max_completion_tokens"],
  [{ max_tokens: 1, max_completion_tokens: 1 }, "max_tokens"],
  [{ n: 129 }, "n"],
  [{ best_of: 1 }, "best_of"],
  [{ prompt_logprobs: 1, stream: true }, "prompt_logprobs"],
  [{ logprobs: 1 }, "logprobs"],
  [{ top_logprobs: 1 }, "top_logprobs"],
  [{ logprobs: true, top_logprobs: 21 }, "top_logprobs"],
  [{ continue_final_message: true }, "continue_final_message"],
  [
    {
      messages: [{ role: "assistant", content: "a" }],
      continue_final_message: true,
      add_generation_prompt: true,
    },
    "continue_final_message",
  ],
  [{ chat_template_kwargs: { messages: [] } }, "chat_template_kwargs.messages"],
  [{ chat_template_kwargs: { a: [[[[[]]]]] } }, "chat_template_kwargs"],
  [{ chat_template_kwargs: { a: Array(100).fill(1) } }, "chat_template_kwargs"],
  [{ chat_template_kwargs: { a: "x".repeat(20_000) } }, "chat_template_kwargs"],
  [{ chat_template_kwargs: [] }, "chat_template_kwargs"],
];

/** Known fields at a value that is not implemented, and their neutral values. */
const UNIMPLEMENTED: readonly [field: string, bad: unknown, neutral: readonly unknown[]][] = [
  ["typical_p", 0.9, [1, 1.0, null]],
  ["response_format", { type: "json_object" }, [{ type: "text" }, null]],
  ["structured_outputs", { regex: "a" }, [null]],
  ["use_beam_search", true, [false]],
];
const UNIMPLEMENTED_CHAT: typeof UNIMPLEMENTED = [
  ["tools", [{ type: "function", function: { name: "f" } }], [[], null]],
  ["tool_choice", "required", ["none", "auto"]],
  ["parallel_tool_calls", 1, [true, false]],
  ["store", true, [false]],
  ["service_tier", "flex", ["auto", "default"]],
  ["reasoning_effort", "high", [null]],
  ["add_special_tokens", true, [false]],
  ["modalities", ["audio"], [["text"]]],
];
const UNIMPLEMENTED_COMPLETION: typeof UNIMPLEMENTED = [
  ["suffix", "end", [null]],
];

Deno.test("bad requests get 400 that names the field, and no engine sees them", async () => {
  const { post, replica } = testApp();
  const cases = [
    ...BAD_COMPLETIONS.map(([fields, param]) =>
      [COMPLETIONS, { prompt: "a", ...fields }, param] as const
    ),
    ...BAD_CHATS.map(([fields, param]) => [CHAT, { messages: [user], ...fields }, param] as const),
  ];
  for (const [path, body, param] of cases) {
    const response = await post(path, body);
    const { error } = await response.json();
    assertEquals([response.status, error.param], [400, param], JSON.stringify(body).slice(0, 200));
    assertEquals(error.type, "invalid_request_error");
    assertStringIncludes(error.message, "Cannot ");
  }
  assertEquals(replica.requests.length, 0);
});

Deno.test("whatever a field holds, the answer is 200, 400 or 404 in OpenAI's shape", async () => {
  const app = testApp({}, { onError: (error) => console.error(error) });
  const fields = [...BAD_COMPLETIONS, ...BAD_CHATS].flatMap(([bad]) => Object.keys(bad));
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.integer({ min: -2, max: 300 }),
    fc.string({ unit: "binary" }),
    fc.constantFrom(true, false, null, [], {}, [user]),
  );
  const body = fc.dictionary(fc.constantFrom(...fields, "n", "tools", "logit_bias"), value, {
    maxKeys: 4,
  });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(COMPLETIONS, CHAT), body, async (path, extra) => {
      const base = path === CHAT ? { messages: [user] } : { prompt: "a" };
      const response = await app.post(path, { ...base, ...extra });
      const text = await response.text();
      assert([200, 400, 404].includes(response.status), text);
      if (response.status !== 200) {
        assertEquals(Object.keys(JSON.parse(text).error), ["message", "type", "param", "code"]);
      }
    }),
    { numRuns: 400, seed: 2 },
  );
  assertEquals([app.gate.active, app.replica.active], [0, 0]);
});

Deno.test("known fields are accepted at their neutral value only, and refused by name and value", async () => {
  const { post } = testApp();
  const all = [
    ...[...UNIMPLEMENTED, ...UNIMPLEMENTED_COMPLETION]
      .map((row) => [COMPLETIONS, { prompt: "a" }, ...row] as const),
    ...[...UNIMPLEMENTED, ...UNIMPLEMENTED_CHAT]
      .map((row) => [CHAT, { messages: [user] }, ...row] as const),
  ];
  for (const [path, base, field, bad, neutral] of all) {
    const refused = await post(path, { ...base, [field]: bad });
    const { error } = await refused.json();
    assertEquals([refused.status, error.param], [400, field]);
    assertStringIncludes(error.message, `: current value is ${JSON.stringify(bad)}`);
    for (const value of neutral) {
      const accepted = await post(path, { ...base, [field]: value });
      assertEquals(accepted.status, 200, `${field} ${JSON.stringify(value)}`);
      await accepted.body?.cancel();
    }
  }
});

Deno.test("bodies that are no JSON object in UTF-8 are refused", async () => {
  const { app, post } = testApp();
  const send = async (body: BodyInit | null, headers: Record<string, string> = {}) => {
    const response = await app.request(COMPLETIONS, {
      method: "POST",
      body,
      headers: { "content-type": "application/json", ...headers },
    });
    const { error } = await response.json();
    return [response.status, error.code, error.message] as const;
  };
  const [status, code, message] = await send('{"prompt": "a",\n "n": 1,}');
  assertEquals([status, code], [400, "invalid_json"]);
  assertStringIncludes(message, "position 24 (line 2 column 9)");
  assertEquals((await send(null)).slice(0, 2), [400, "invalid_json"]);
  assertEquals((await send(Uint8Array.of(0x22, 0xff, 0x22))).slice(0, 2), [400, "invalid_utf8"]);
  const deep = `{"prompt": ${"[".repeat(1e6)}${"]".repeat(1e6)}}`;
  assertStringIncludes((await send(deep))[2], "nested deeper than 64 levels");
  const brackets = await post(COMPLETIONS, { prompt: '\\"' + "[".repeat(100) });
  assertEquals(brackets.status, 200, "brackets inside of a string do not count");
  await brackets.body?.cancel();
  for (const body of ["[]", "null", "5", '"a"']) {
    assertEquals((await send(body))[0], 400);
  }
  const refused: Record<string, string>[] = [
    { "content-type": "text/plain" },
    { "content-type": "application/json; charset=latin1" },
    { "content-encoding": "gzip" },
  ];
  for (const headers of refused) {
    assertEquals((await send("{}", headers)).slice(0, 2), [415, "unsupported_media_type"]);
  }
  const utf8 = await post(COMPLETIONS, { prompt: "a" }, {
    "content-type": 'Application/JSON; charset="UTF-8"',
  });
  assertEquals(utf8.status, 200);
  await utf8.body?.cancel();
  const proto = await post(COMPLETIONS, '{"prompt": "a", "__proto__": {"model": "x"}}');
  assertEquals([proto.status, (await proto.json()).error.param], [400, "__proto__"]);
});

Deno.test("a body beyond the limit is refused before it is read whole", async () => {
  const { app } = testApp({}, { maxBodyBytes: 1000 });
  let sent = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += 100;
      controller.enqueue(new Uint8Array(100).fill(0x20));
    },
  });
  const response = await app.request(COMPLETIONS, {
    method: "POST",
    body: endless,
    headers: { "content-type": "application/json" },
  });
  assertEquals([response.status, (await response.json()).error.code], [413, "body_too_large"]);
  assert(sent <= 1300, `${sent} bytes were taken`);
  const declared = await app.request(COMPLETIONS, {
    method: "POST",
    body: "{}",
    headers: { "content-type": "application/json", "content-length": "1001" },
  });
  assertEquals(declared.status, 413);
  await declared.body?.cancel();
  const exact = JSON.stringify({ prompt: "a" }).padEnd(1000);
  const { post } = testApp({}, { maxBodyBytes: 1000 });
  const accepted = await post(COMPLETIONS, exact);
  assertEquals(accepted.status, 200);
  await accepted.body?.cancel();
});

Deno.test("a body that does not arrive in time is refused", async () => {
  const { app, gate } = testApp({}, { bodyTimeoutMs: 20 });
  const stuck = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => {}) });
  const response = await app.request(COMPLETIONS, {
    method: "POST",
    body: stuck,
    headers: { "content-type": "application/json" },
  });
  assertEquals([response.status, (await response.json()).error.code], [408, "body_timeout"]);
  assertEquals(gate.active, 0);
});

Deno.test("unknown models, routes and methods", async () => {
  const { app, post } = testApp({}, { aliases: ["org/other"] });
  const model = await post(COMPLETIONS, { prompt: "a", model: "gpt-9" });
  assertEquals(model.status, 404);
  const { error } = await model.json();
  assertEquals([error.code, error.param], ["model_not_found", "model"]);
  const alias = await post(COMPLETIONS, { prompt: "a", model: "org/other" });
  assertEquals([alias.status, (await alias.json()).model], [200, "fake"]);
  const route = await app.request("/v1/embeddings", { method: "POST" });
  assertEquals([route.status, (await route.json()).error.code], [404, "route_not_found"]);
  const method = await app.request(COMPLETIONS);
  assertEquals(method.headers.get("allow"), "POST");
  assertEquals([method.status, (await method.json()).error.code], [405, "method_not_allowed"]);
});

Deno.test("what an engine refuses keeps its field; a dead engine is 503", async () => {
  const error = new UnsupportedRequestError("Cannot do it", "topK");
  for (const script of [{ refuses: error }, { failsLate: error }]) {
    for (const stream of [false, true]) {
      const { post, gate } = testApp(script);
      const response = await post(COMPLETIONS, { prompt: "a", stream });
      assertEquals([response.status, (await response.json()).error], [400, {
        message: "Cannot do it",
        type: "invalid_request_error",
        param: "top_k",
        code: null,
      }]);
      assertEquals(gate.active, 0);
    }
  }
  const dead = testApp({ refuses: new EngineDeadError("Cannot go on") });
  const response = await dead.post(COMPLETIONS, { prompt: "a" });
  assertEquals([response.status, (await response.json()).error.code], [503, "engine_dead"]);
  assertEquals(dead.gate.active, 0);
});

Deno.test("an unexpected error is a 500 that tells clients nothing", async () => {
  const seen: unknown[] = [];
  const error = new Error("secret path");
  const broken = testApp({ failsLate: error }, { onError: (error) => seen.push(error) });
  const response = await broken.post(COMPLETIONS, { prompt: "a" });
  assertEquals(response.status, 500);
  assert(!(await response.text()).includes("secret"));
  const { post } = testApp({ breaksAfter: [1, error] }, { onError: (error) => seen.push(error) });
  const stream = await post(COMPLETIONS, { prompt: "a", stream: true });
  const events = eventsOf(await stream.text());
  assertEquals(events.length, 2);
  assertEquals(JSON.parse(events[1]).error.type, "server_error");
  assert(!events[1].includes("secret"));
  assertEquals(seen, [error, error]);
});

Deno.test("an engine that dies or falls silent ends a stream by an error and no [DONE]", async () => {
  for (const script of [{ diesAfter: 2 }, { silentAfter: 2 }]) {
    for (
      const [path, body] of [[COMPLETIONS, { prompt: "a" }], [CHAT, { messages: [user] }]] as const
    ) {
      const { post, gate } = testApp(script);
      const events = eventsOf(await (await post(path, { ...body, stream: true })).text());
      assertEquals(events.length, path === CHAT ? 4 : 3);
      assertEquals(JSON.parse(events.at(-1)!).error.code, "engine_dead");
      assertEquals(gate.active, 0);
      const whole = await testApp(script).post(path, body);
      assertEquals([whole.status, (await whole.json()).error.code], [503, "engine_dead"]);
    }
  }
});

Deno.test("beyond the queue's limit requests get 429", async () => {
  const { post } = testApp({}, { gate: new RequestGate({ maxQueuedRequests: 1 }) });
  const first = await post(COMPLETIONS, { prompt: "a", stream: true });
  const second = await post(COMPLETIONS, { prompt: "a" });
  assertEquals([second.status, second.headers.get("retry-after")], [429, "1"]);
  assertEquals((await second.json()).error.type, "rate_limit_error");
  await first.text();
  const third = await post(COMPLETIONS, { prompt: "a" });
  assertEquals(third.status, 200);
  await third.body?.cancel();
});
