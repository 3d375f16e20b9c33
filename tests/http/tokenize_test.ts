import { assertEquals } from "@std/assert";
import { TextProcessor } from "../../src/text/text_processor.ts";
import { RequestGate } from "../../src/serving/mod.ts";
import { BOS, EOS, FakeReplica } from "./fake_replica.ts";
import { testApp } from "./test_server.ts";

Deno.test("a text becomes tokens, with vLLM's fields", async () => {
  const { json } = testApp();
  assertEquals(await json("/tokenize", { prompt: "ab" }), {
    count: 3,
    max_model_len: 200,
    tokens: [BOS, 97, 98],
    token_strs: null,
  });
  const bare = { model: "fake", prompt: "aa", add_special_tokens: false, return_token_strs: true };
  const { tokens, token_strs } = await json("/tokenize", bare);
  assertEquals([tokens, token_strs], [[97, 97], ["t97", "t97"]]);
  assertEquals((await json("/tokenize", { prompt: "", add_special_tokens: false })).count, 0);
});

Deno.test("a conversation becomes the tokens that a chat completion computes", async () => {
  const { json, text, replica } = testApp();
  const conversation = {
    messages: [{ role: "user", content: "q" }, { role: "assistant", content: "a" }],
    continue_final_message: true,
    chat_template_kwargs: { deep: true },
  };
  const { tokens } = await json("/tokenize", conversation);
  await json("/v1/chat/completions", conversation);
  assertEquals(replica.requests[0].promptTokenIds, tokens);
  assertEquals(text.rendered[0], text.rendered[1]);
});

Deno.test("tokens become text, special ones included", async () => {
  const { json } = testApp();
  const tokens = [BOS, 0xe2, 0x98, 0x95, EOS];
  assertEquals(await json("/detokenize", { tokens }), { prompt: "<256>☕<257>" });
  assertEquals(await json("/detokenize", { tokens: [] }), { prompt: "" });
});

Deno.test("what cannot be tokenized is refused by name", async () => {
  const { post } = testApp();
  const user = { role: "user", content: "q" };
  const cases: [path: string, body: unknown, param: string | null][] = [
    ["/tokenize", {}, "prompt"],
    ["/tokenize", [], null],
    ["/tokenize", { prompt: ["a"] }, "prompt"],
    ["/tokenize", { prompt: "\ud800" }, "prompt"],
    ["/tokenize", { prompt: "a", messages: [user] }, "prompt"],
    ["/tokenize", { prompt: "a", return_token_strs: 1 }, "return_token_strs"],
    ["/tokenize", { prompt: "a", temperature: 1 }, "temperature"],
    ["/tokenize", { messages: [] }, "messages"],
    ["/tokenize", { messages: [{ role: "tool", content: "a", tool_call_id: "1" }] }, "messages"],
    ["/tokenize", { messages: [user], add_special_tokens: true }, "add_special_tokens"],
    ["/tokenize", { messages: [user], continue_final_message: true }, "continue_final_message"],
    ["/detokenize", {}, "tokens"],
    ["/detokenize", { tokens: "a" }, "tokens"],
    ["/detokenize", { tokens: [-1] }, "tokens[0]"],
    ["/detokenize", { tokens: [258] }, "tokens"],
    ["/detokenize", { tokens: [1], prompt: "a" }, "prompt"],
  ];
  for (const [path, body, param] of cases) {
    const response = await post(path, body);
    assertEquals(
      [response.status, (await response.json()).error.param],
      [400, param],
      `${path} ${JSON.stringify(body)}`,
    );
  }
  const other = await post("/tokenize", { prompt: "a", model: "other" });
  assertEquals([other.status, (await other.json()).error.code], [404, "model_not_found"]);
  const without = testApp({}, { text: null });
  for (const [path, body] of [["/tokenize", { prompt: "a" }], ["/detokenize", { tokens: [1] }]]) {
    const response = await without.post(path as string, body);
    assertEquals([response.status, (await response.json()).error.code], [400, "no_tokenizer"]);
  }
});

Deno.test("tokenizing takes a place at the gate, and gives it back", async () => {
  const gate = new RequestGate({ maxQueuedRequests: 1 });
  const { post } = testApp({}, { gate });
  for (const body of [{ prompt: "a" }, { prompt: 5 }]) {
    await (await post("/tokenize", body)).body?.cancel();
    assertEquals(gate.active, 0);
  }
  const place = gate.enter();
  const full = await post("/detokenize", { tokens: [1] });
  assertEquals([full.status, (await full.json()).error.code], [429, "queue_full"]);
  place[Symbol.dispose]();
});

Deno.test("a real tokenizer gives a text back, and spells its tokens as its vocabulary does", async () => {
  const folder = new URL("../../models/demo", import.meta.url).pathname;
  using text = await TextProcessor.load(folder);
  const replica = new FakeReplica();
  const info = { ...replica.info, vocabSize: text!.info.vocabSize };
  const { json } = testApp({}, { text, replica: Object.assign(replica, { info }) });
  const body = { prompt: "What is a rank?", return_token_strs: true };
  const { tokens, token_strs, count } = await json("/tokenize", body);
  assertEquals([tokens.length, token_strs.length], [count, count]);
  const bare = await json("/tokenize", { ...body, add_special_tokens: false });
  assertEquals(await json("/detokenize", { tokens: bare.tokens }), { prompt: body.prompt });
  const vocabulary = JSON.parse(await Deno.readTextFile(`${folder}/tokenizer.json`)).model.vocab;
  const spelled = bare.token_strs.map((token: string) => vocabulary[token]);
  assertEquals(spelled, bare.tokens);
});
