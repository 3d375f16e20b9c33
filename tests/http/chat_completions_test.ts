import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { EOS } from "./fake_replica.ts";
import { eventsOf, type Json, testApp } from "./test_server.ts";

const PATH = "/v1/chat/completions";
const messages = [{ role: "user", content: "q" }];
const PROMPT = [...new TextEncoder().encode('<user>"q"')];

Deno.test("a chat completion has OpenAI's shape", async () => {
  const { json, replica } = testApp();
  const { id, created, system_fingerprint, ...body } = await json(PATH, {
    model: "fake",
    messages,
  });
  assertMatch(id, /^chatcmpl-[0-9a-f]{32}$/);
  assert(Number.isInteger(created));
  assertMatch(system_fingerprint, /^fp_/);
  assertEquals(body, {
    object: "chat.completion",
    model: "fake",
    weight_version: "fake",
    choices: [{
      index: 0,
      message: { role: "assistant", content: "Hi ☕!", refusal: null },
      logprobs: null,
      finish_reason: "stop",
      stop_reason: null,
    }],
    usage: {
      prompt_tokens: 9,
      completion_tokens: 8,
      total_tokens: 17,
      prompt_tokens_details: { cached_tokens: 0 },
    },
  });
  assertEquals(replica.requests[0].promptTokenIds, PROMPT);
  assertEquals(replica.requests[0].sampling?.maxTokens, 200 - 9, "the rest of the context");
});

Deno.test("messages and template options reach the template", async () => {
  const { json, text } = testApp();
  await json(PATH, {
    messages: [
      { role: "developer", content: "d", name: "n" },
      { role: "user", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] },
      { role: "tool", content: "t", tool_call_id: "1" },
      { role: "assistant", content: "so", tool_calls: [] },
    ],
    continue_final_message: true,
    chat_template_kwargs: { enable_thinking: false },
  });
  assertEquals(text.rendered, [{
    messages: [
      { role: "system", content: "d", name: "n" },
      { role: "user", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] },
      { role: "tool", content: "t" },
      { role: "assistant", content: "so" },
    ],
    options: {
      addGenerationPrompt: false,
      continueFinalMessage: true,
      templateVariables: { enable_thinking: false },
    },
  }]);
});

Deno.test("either spelling of the output limit works", async () => {
  for (const field of ["max_tokens", "max_completion_tokens"]) {
    const { json } = testApp();
    const { choices: [choice] } = await json(PATH, { messages, [field]: 2 });
    assertEquals([choice.message.content, choice.finish_reason], ["Hi", "length"]);
  }
});

Deno.test("the default output limit is what context and KV cache leave", async () => {
  const { json, post, replica } = testApp();
  replica.stats = { ...replica.stats, kvBlocksTotal: 2 };
  await json(PATH, { messages });
  assertEquals(replica.requests[0].sampling?.maxTokens, 2 * 16 + 1 - 9);
  const refused = await post(PATH, { messages, max_completion_tokens: 25 });
  const { error } = await refused.json();
  assertEquals([refused.status, error.param], [400, "max_completion_tokens"]);
  assertStringIncludes(error.message, "KV cache of 33 tokens: 9 + 25");
  replica.stats = { ...replica.stats, kvBlocksTotal: 0 };
  await json(PATH, { messages });
  assertEquals(replica.requests[1].sampling?.maxTokens, 200 - 9, "0 means unknown");
});

Deno.test("log-probabilities have tokens, bytes and alternatives", async () => {
  const { json } = testApp({ says: "é" });
  const { choices: [choice] } = await json(PATH, {
    messages,
    logprobs: true,
    top_logprobs: 2,
    max_tokens: 1,
    return_token_ids: true,
  });
  assertEquals(choice.prompt_token_ids, PROMPT);
  assertEquals(choice.token_ids, [0xc3]);
  assertEquals(choice.logprobs, {
    content: [{
      token: "\ufffd",
      logprob: -1.95,
      bytes: [0xc3],
      top_logprobs: [
        { token: "\ufffd", logprob: -1.95, bytes: [0xc3] },
        { token: "\ufffd", logprob: -2.95, bytes: [0xc4] },
      ],
    }],
    refusal: null,
  });
});

Deno.test("a stream begins with the role and ends with the usage and [DONE]", async () => {
  const { post } = testApp({ says: "ab" });
  const response = await post(PATH, {
    messages,
    stream: true,
    logprobs: true,
    return_token_ids: true,
    stream_options: { include_usage: true },
  });
  const events = eventsOf(await response.text());
  assertEquals(events.pop(), "[DONE]");
  const bodies = events.map((event) => JSON.parse(event));
  assert(bodies.every((body) => body.object === "chat.completion.chunk"));
  assertEquals(bodies.map((body) => body.choices[0]?.delta), [
    { role: "assistant", content: "" },
    { content: "a" },
    { content: "b" },
    {},
    undefined,
  ]);
  assertEquals(bodies.map((body) => body.choices[0]?.finish_reason), [
    null,
    null,
    null,
    "stop",
    undefined,
  ]);
  assertEquals(bodies.map((body) => body.choices[0]?.token_ids), [
    undefined,
    [97],
    [98],
    [EOS],
    undefined,
  ]);
  assertEquals(bodies[0].choices[0].prompt_token_ids, PROMPT);
  assertEquals(bodies[1].choices[0].logprobs.content[0].token, "a");
  assertEquals(bodies[4].usage.total_tokens, 9 + 3);
});

Deno.test("without a tokenizer chat is refused", async () => {
  const { post } = testApp({}, { text: null });
  const response = await post(PATH, { messages });
  assertEquals([response.status, (await response.json()).error.param], [400, "messages"]);
});

Deno.test("echo begins every choice with the assistant's last message", async () => {
  const { json, post } = testApp({ says: "b" });
  const parts = [{ type: "text", text: "x" }, { type: "text", text: "y" }];
  const body = {
    messages: [...messages, { role: "assistant", content: parts }],
    continue_final_message: true,
    echo: true,
    n: 2,
  };
  const { choices, usage } = await json(PATH, body);
  assertEquals(choices.map(({ message }: Json) => message.content), ["x\nyb", "x\nyb"]);
  assertEquals(usage.completion_tokens, 4, "what is echoed was not generated");
  const events = eventsOf(await (await post(PATH, { ...body, stream: true })).text());
  const texts = ["", ""];
  for (const event of events.slice(0, -1)) {
    for (const { index, delta } of JSON.parse(event).choices) texts[index] += delta.content ?? "";
  }
  assertEquals(texts, ["x\nyb", "x\nyb"]);
  const plain = await json(PATH, { messages, echo: true });
  assertEquals(plain.choices[0].message.content, "b", "the last message is not the assistant's");
});
