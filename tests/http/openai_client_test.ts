import OpenAI from "openai";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { testServer } from "./test_server.ts";

function client(url: string, apiKey = "key"): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
}

function versionOf(answer: object): unknown {
  return (answer as { readonly weight_version?: unknown }).weight_version;
}

const messages = [{ role: "user" as const, content: "q" }];

Deno.test("openai: chat, whole and streamed", async () => {
  await using server = await testServer({}, { apiKey: "key" });
  const { chat } = client(server.url);
  const whole = await chat.completions.create({ model: "fake", messages, logprobs: true });
  assertEquals(whole.choices[0].message.content, "Hi ☕!");
  assertEquals(whole.choices[0].logprobs?.content?.length, 8);
  assertEquals(whole.usage?.total_tokens, 17);
  assertEquals(whole.id, `chatcmpl-${whole._request_id}`);
  assertEquals(versionOf(whole), "fake", "a field that the client does not know");
  const stream = await chat.completions.create({
    model: "fake",
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let last: OpenAI.ChatCompletionChunk | undefined;
  for await (const chunk of stream) {
    assertEquals(versionOf(chunk), "fake");
    text += chunk.choices[0]?.delta.content ?? "";
    last = chunk;
  }
  assertEquals(text, "Hi ☕!");
  assertEquals(last?.usage?.completion_tokens, 8);
});

Deno.test("openai: the stream helper puts the chunks together", async () => {
  await using server = await testServer();
  const runner = client(server.url).chat.completions.stream({ model: "fake", messages });
  assertEquals(await runner.finalContent(), "Hi ☕!");
});

Deno.test("openai: completions, whole and streamed", async () => {
  await using server = await testServer({ says: "ab" });
  const { completions } = client(server.url);
  const whole = await completions.create({ model: "fake", prompt: ["x", "y"], logprobs: 1 });
  assertEquals(whole.choices.map((choice) => choice.text), ["ab", "ab"]);
  assertEquals(whole.choices[1].logprobs?.token_logprobs?.[0], -0.97);
  let text = "";
  for await (
    const chunk of await completions.create({ model: "fake", prompt: "x", stream: true })
  ) {
    text += chunk.choices[0].text;
  }
  assertEquals(text, "ab");
});

Deno.test("openai: models", async () => {
  await using server = await testServer({}, { modelName: "org/name" });
  const { models } = client(server.url);
  const list = await Array.fromAsync(await models.list());
  assertEquals(list.map(({ id }) => id), ["org/name"]);
  assertEquals((await models.retrieve("org/name")).owned_by, "weft");
});

Deno.test("openai: errors arrive as its own classes", async () => {
  await using server = await testServer({ diesAfter: 2 }, { apiKey: "key" });
  const { chat } = client(server.url);
  const bad = await assertRejects(
    () => chat.completions.create({ model: "fake", messages, n: 0 }),
    OpenAI.BadRequestError,
  );
  assertInstanceOf(bad, OpenAI.BadRequestError);
  assertEquals([bad.param, bad.type], ["n", "invalid_request_error"]);
  await assertRejects(
    () => chat.completions.create({ model: "gpt-9", messages }),
    OpenAI.NotFoundError,
  );
  await assertRejects(
    () => client(server.url, "wrong").models.list(),
    OpenAI.AuthenticationError,
  );
  const stream = await chat.completions.create({ model: "fake", messages, stream: true });
  const seen: string[] = [];
  const died = await assertRejects(async () => {
    for await (const chunk of stream) seen.push(chunk.choices[0].delta.content ?? "");
  }, OpenAI.APIError);
  assertEquals(seen, ["", "H", "i"]);
  assert(died.message.includes("a rank was killed"), died.message);
});

Deno.test("openai: a stream that is left early aborts the generation", async () => {
  await using server = await testServer({ says: "x".repeat(150), delayMs: 10 });
  const stream = await client(server.url).chat.completions.create({
    model: "fake",
    messages,
    stream: true,
  });
  let chunks = 0;
  for await (const _ of stream) if (++chunks === 3) break;
  const deadline = performance.now() + 2000;
  while (server.replica.active > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assertEquals([server.replica.active, server.replica.aborted], [0, 1]);
});
