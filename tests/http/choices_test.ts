import OpenAI from "openai";
import { assertEquals } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { GenerateRequest } from "../../src/engine/types.ts";
import { EOS } from "./fake_replica.ts";
import { eventsOf, type Json, testApp, testServer } from "./test_server.ts";

const COMPLETIONS = "/v1/completions";
const CHAT = "/v1/chat/completions";
const messages = [{ role: "user" as const, content: "q" }];

/** Each choice says the letter of its number, one more time than that. */
const byChoice = ({ choice = 0 }: GenerateRequest): string => "abcdef"[choice].repeat(1 + choice);

Deno.test("n gives so many choices of each prompt, whole and streamed", async () => {
  const { json, post, replica } = testApp({ says: byChoice });
  const body = { prompt: ["x", "y"], n: 3 };
  const whole = await json(COMPLETIONS, body);
  assertEquals(
    whole.choices.map(({ index, text }: Json) => [index, text]),
    ["a", "bb", "ccc", "a", "bb", "ccc"].entries().toArray(),
  );
  assertEquals([whole.usage.prompt_tokens, whole.usage.completion_tokens], [4, 2 * (2 + 3 + 4)]);
  assertEquals(replica.requests.map(({ choice }) => choice), [0, 1, 2, 0, 1, 2]);
  const stream = await post(COMPLETIONS, { ...body, stream: true });
  const texts = new Array(6).fill("");
  const ends: number[] = [];
  for (const event of eventsOf(await stream.text()).slice(0, -1)) {
    const [{ index, text, finish_reason }] = JSON.parse(event).choices;
    texts[index] += text;
    if (finish_reason !== null) ends.push(index);
  }
  assertEquals(texts, whole.choices.map(({ text }: Json) => text));
  assertEquals(ends.toSorted(), [0, 1, 2, 3, 4, 5]);
});

Deno.test("chat choices come with their own roles, logprobs and ends, interleaved", async () => {
  const { json, post } = testApp({ says: byChoice });
  const body = { messages, n: 2, logprobs: true };
  const { choices, usage } = await json(CHAT, body);
  assertEquals(choices.map(({ index, message }: Json) => [index, message.content]), [
    [0, "a"],
    [1, "bb"],
  ]);
  assertEquals(choices.map(({ logprobs }: Json) => logprobs.content.length), [2, 3]);
  assertEquals(usage.completion_tokens, 5);
  const events = eventsOf(await (await post(CHAT, { ...body, stream: true })).text());
  const seen = events.slice(0, -1).map((event) => JSON.parse(event).choices[0]);
  assertEquals(seen.map(({ index, delta }: Json) => [index, delta.role ?? delta.content]), [
    [0, "assistant"],
    [1, "assistant"],
    [0, "a"],
    [1, "b"],
    [0, undefined],
    [1, "b"],
    [1, undefined],
  ]);
});

Deno.test("best_of answers with the choices whose tokens are most likely", async () => {
  // FakeReplica's tokens are the less likely the later they stand in the alphabet.
  const says = ({ choice = 0, promptTokenIds }: GenerateRequest): string =>
    promptTokenIds![0] === 1 ? ["zz", "aa", "mm"][choice] : ["ab", "xy", "cd"][choice];
  const { json, replica } = testApp({ says });
  const body = { prompt: [[1], [2]], n: 2, best_of: 3, max_tokens: 2 };
  const { choices, usage } = await json(COMPLETIONS, body);
  assertEquals(choices.map(({ index, text, logprobs }: Json) => [index, text, logprobs]), [
    [0, "aa", null],
    [1, "mm", null],
    [2, "ab", null],
    [3, "cd", null],
  ]);
  assertEquals(usage.completion_tokens, 12, "what was thrown away was generated, too");
  assertEquals(replica.requests.map(({ sampling }) => sampling?.logprobs), Array(6).fill(0));
});

Deno.test("the choices of an answer are bounded together before anything is generated", async () => {
  const { json, post, replica } = testApp({ maxModelLen: 1 << 20 });
  replica.stats = { ...replica.stats, kvBlocksTotal: 1 << 16 };
  const many = { prompt: [1], n: 128 };
  const refused = await post(COMPLETIONS, { ...many, max_tokens: 32769 });
  assertEquals([refused.status, (await refused.json()).error.param], [400, "max_tokens"]);
  const logprobs = await post(COMPLETIONS, { ...many, max_tokens: 4096, logprobs: 7 + 1 });
  assertEquals([logprobs.status, (await logprobs.json()).error.param], [400, "max_tokens"]);
  assertEquals(replica.requests.length, 0);
  await json(CHAT, { messages, n: 128 });
  assertEquals(replica.requests[0].sampling?.maxTokens, 32768, "a default is cut");
});

Deno.test("usage comes with every chunk where it is asked for", async () => {
  const { post } = testApp({ says: "ab" });
  for (const [path, base] of [[COMPLETIONS, { prompt: [1, 2] }], [CHAT, { messages }]] as const) {
    const stream_options = { include_usage: true, continuous_usage_stats: true };
    const response = await post(path, { ...base, stream: true, stream_options });
    const events = eventsOf(await response.text()).slice(0, -1).map((event) => JSON.parse(event));
    const counts = events.map(({ usage }) => usage.completion_tokens);
    assertEquals(counts, path === CHAT ? [1, 1, 2, 3, 3] : [1, 2, 3, 3]);
    assertEquals(events.at(-1).choices, []);
  }
});

Deno.test("prompt_logprobs are told by id, with rank and text", async () => {
  const { json, replica } = testApp({ says: "a" });
  const body = { prompt: [98, 99], prompt_logprobs: 1, max_tokens: 1 };
  const { choices: [choice] } = await json(COMPLETIONS, body);
  assertEquals(choice.prompt_logprobs, [
    null,
    { "99": { logprob: -0.99, rank: 1, decoded_token: "c" } },
  ]);
  assertEquals(replica.requests[0].sampling?.promptLogprobs, 1);
  const none = await json(COMPLETIONS, { ...body, prompt_logprobs: 0 });
  assertEquals(none.choices[0].prompt_logprobs[1]["99"].rank, null);
  const both = await json(COMPLETIONS, { ...body, echo: true, logprobs: 0, prompt_logprobs: 3 });
  assertEquals(Object.keys(both.choices[0].prompt_logprobs[1]), ["99", "100", "101"]);
  assertEquals(Object.keys(both.choices[0].logprobs.top_logprobs[1]), ["c"]);
  const chat = await json(CHAT, { messages, prompt_logprobs: 2 });
  assertEquals(chat.prompt_logprobs.length, chat.usage.prompt_tokens);
  assertEquals(Object.keys(chat.prompt_logprobs[1]).length, 2);
});

Deno.test("tokens are named by number where it is asked for", async () => {
  const { json } = testApp({ says: "a" });
  const named = { return_tokens_as_token_ids: true };
  const whole = await json(COMPLETIONS, { prompt: [1], logprobs: 1, ...named });
  assertEquals(whole.choices[0].logprobs.tokens, ["token_id:97", `token_id:${EOS}`]);
  const chat = await json(CHAT, { messages, logprobs: true, ...named });
  assertEquals(chat.choices[0].logprobs.content[0].token, "token_id:97");
});

Deno.test("truncate_prompt_tokens keeps the end of a prompt", async () => {
  const { json, replica } = testApp({ says: "c" });
  const body = { prompt: "xyab", truncate_prompt_tokens: 2, echo: true };
  const { choices: [{ text }], usage } = await json(COMPLETIONS, body);
  assertEquals([text, usage.prompt_tokens], ["abc", 2]);
  await json(COMPLETIONS, { ...body, truncate_prompt_tokens: 100 });
  await json(CHAT, { messages, truncate_prompt_tokens: 3 });
  assertEquals(replica.requests.map(({ promptTokenIds }) => promptTokenIds!.length), [2, 5, 3]);
});

Deno.test("openai: n choices, whole and streamed, from a real model that a seed makes repeatable", async () => {
  const folder = new URL("../../models/demo", import.meta.url).pathname;
  await using replica = await LlmEngine.load({ model: folder, threads: 1, maxModelLen: 256 });
  await using server = await testServer({}, { replica, text: replica.text, modelName: "demo" });
  const { chat } = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  const request = { model: "demo", messages, n: 3, seed: 5, temperature: 2, max_tokens: 8 };
  const whole = await chat.completions.create(request);
  const texts = whole.choices.map(({ message }) => message.content!);
  assertEquals(new Set(texts).size, 3, "the choices differ");
  const alone = await chat.completions.create({ ...request, n: 1 });
  assertEquals(alone.choices[0].message.content, texts[0]);
  const streamed = ["", "", ""];
  for await (const { choices } of await chat.completions.create({ ...request, stream: true })) {
    for (const { index, delta } of choices) streamed[index] += delta.content ?? "";
  }
  assertEquals(streamed, texts);
});
