import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { TextError } from "../../../src/text/text_error.ts";
import { TextProcessor, type TextProcessorOptions } from "../../../src/text/text_processor.ts";
import { hangingTokenizer, writeFolder } from "./_fixtures.ts";

const DEMO = new URL("../../../models/demo", import.meta.url).pathname;
const LETTERS = "abcdefghijklmnopqrstuvwxyz ";
const ids = (text: string) => [...text].map((letter) => LETTERS.indexOf(letter));

async function load(folder: string, options?: TextProcessorOptions): Promise<TextProcessor> {
  const processor = await TextProcessor.load(folder, options);
  if (processor === null) throw new Error("The fixture has no tokenizer");
  return processor;
}

async function reasonOf(promise: Promise<unknown>): Promise<string> {
  const error = await assertRejects(() => promise, TextError);
  return (error as TextError).reason;
}

Deno.test("a folder without tokenizer.json gives null", async () => {
  using folder = writeFolder({});
  assertEquals(await TextProcessor.load(folder.path), null);
});

Deno.test("a broken tokenizer is an error and leaves no worker behind", async () => {
  using folder = writeFolder({ "tokenizer.json": "{" });
  assertEquals(await reasonOf(TextProcessor.load(folder.path)), "load");
});

Deno.test("encode, decode, renderChat and tokenTexts answer through the workers", async () => {
  using text = await load(DEMO);
  assertEquals(text.info.eosTokenId, 1);
  const tokenIds = await text.encode("What is NCCL?");
  assertEquals(await text.decode(tokenIds), "What is NCCL?");
  const chat = await text.renderChat([{ role: "user", content: [{ type: "text", text: "Hi" }] }]);
  assertEquals(chat.text, "<|begin|><|user|>Hi<|end|><|assistant|>");
  assertEquals(await text.decode(chat.tokenIds, { skipSpecialTokens: false }), chat.text);
  const texts = await text.tokenTexts([1, ...tokenIds]);
  assertEquals(texts.map(({ text }) => text).join(""), "<|end|>What is NCCL?");
});

Deno.test("calls made together are answered each with its own result", async () => {
  using text = await load(DEMO);
  const inputs = Array.from({ length: 50 }, (_, index) => `${index} + ${index} = ?`);
  const encoded = await Promise.all(inputs.map((input) => text.encode(input)));
  assertEquals(await Promise.all(encoded.map((tokens) => text.decode(tokens))), inputs);
});

Deno.test("streams give text and stop strings, also for pushes that overlap", async () => {
  using text = await load(DEMO);
  const tokenIds = await text.encode("The pipeline bubble is small.");
  using whole = text.openStream();
  const deltas = await Promise.all(
    tokenIds.map((id, at) => whole.push([id], at === tokenIds.length - 1)),
  );
  assertEquals(deltas.map((delta) => delta.text).join(""), "The pipeline bubble is small.");
  assertEquals(await reasonOf(whole.push([1], false)), "closed");

  using stopped = text.openStream({ stop: ["bubble"] });
  const pushes = await Promise.all(tokenIds.map((id) => stopped.push([id], false)));
  assertEquals(pushes.map((delta) => delta.text).join(""), "The pipeline ");
  assertEquals(pushes.filter((delta) => delta.stop !== null).map((delta) => delta.stop), [
    { stop: "bubble", tokens: 1 },
  ]);
  assertEquals(await stopped.push([5], true), { text: "", stop: null });
  assertThrows(() => text.openStream({ stop: [""] }), TextError, "empty");
});

Deno.test("input that is too long or no JSON is refused before it is sent", async () => {
  using text = await load(DEMO, { maxInputCharacters: 100 });
  assertEquals(await reasonOf(text.encode("x".repeat(101))), "input");
  assertEquals(await reasonOf(text.decode(new Array(101).fill(1))), "input");
  const long = [{ role: "user", content: "x".repeat(101) }];
  assertEquals(await reasonOf(text.renderChat(long)), "input");
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  const hi = [{ role: "user", content: "Hi" }];
  assertEquals(await reasonOf(text.renderChat(hi, { templateVariables: cyclic })), "input");
  await assertRejects(() => TextProcessor.load(DEMO, { timeoutMs: 0 }), RangeError, "timeoutMs");
});

Deno.test("a template that hangs is stopped; calls behind it and later ones go on", async () => {
  using folder = writeFolder({
    "tokenizer.json": hangingTokenizer(),
    "chat_template.jinja": "{% if messages[0].content == 'hang' %}" +
      "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}" +
      "{% endfor %}{% endfor %}{% endfor %}{% endif %}{{ messages[0].content }}",
  });
  using text = await load(folder.path, { timeoutMs: 600 });
  const stream = text.openStream();
  const hanging = text.renderChat([{ role: "user", content: "hang" }]);
  const behind = text.renderChat([{ role: "user", content: "fine" }]);
  let answered = false;
  hanging.catch(() => answered = true);
  // Generations don't wait for prompts.
  assertEquals((await stream.push(ids("hi"), true)).text, "hi");
  assertEquals(answered, false);
  const error = await assertRejects(() => hanging, TextError, "600 ms");
  assertEquals((error as TextError).reason, "timeout");
  assertEquals((await behind).text, "fine");
  assertEquals(await text.encode("abc"), ids("abc"));
});

Deno.test("when the decoding worker is replaced streams go on where they were", async () => {
  using folder = writeFolder({ "tokenizer.json": hangingTokenizer() });
  using text = await load(folder.path, { timeoutMs: 600 });
  using stream = text.openStream({ stop: ["stop"] });
  using fresh = text.openStream();
  assertEquals((await stream.push(ids("one st"), false)).text, "one ");
  // All in one message: the worker never answers it, and nothing says which call is to blame.
  const first = fresh.push(ids("new"), false);
  const hanging = text.decode(ids("a".repeat(60)));
  const second = stream.push(ids("o"), false);
  assertEquals(await reasonOf(hanging), "timeout");
  assertEquals((await first).text, "new");
  assertEquals((await second).text, "");
  assertEquals(await stream.push(ids("p it"), false), {
    text: "",
    stop: { stop: "stop", tokens: 1 },
  });
  assertEquals((await fresh.push(ids("er"), true)).text, "er");
});

Deno.test("closing rejects what waits and what comes later", async () => {
  const text = await load(DEMO);
  const waiting = [text.encode("a"), text.decode([5]), text.openStream().push([5], false)];
  const reasons = Promise.all(waiting.map(reasonOf));
  text[Symbol.dispose]();
  assertEquals(await reasons, ["closed", "closed", "closed"]);
  assertEquals(await reasonOf(text.encode("a")), "closed");
  text[Symbol.dispose]();
});

/** Passes every message to a worker through `change` while the result is not disposed. */
function interceptMessages(change: (message: unknown) => unknown): Disposable {
  const original = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (message: unknown): void {
    original.call(this, change(message));
  };
  return { [Symbol.dispose]: () => void (Worker.prototype.postMessage = original) };
}

Deno.test("calls of one task travel in one message", async () => {
  using text = await load(DEMO);
  const [tokenId] = await text.encode("x");
  const streams = Array.from({ length: 64 }, () => text.openStream());
  let messages = 0;
  using _ = interceptMessages((message) => {
    messages++;
    return message;
  });
  const deltas = await Promise.all(streams.map((stream) => stream.push([tokenId], false)));
  assertEquals(deltas.map((delta) => delta.text).join(""), "x".repeat(64));
  assertEquals(messages, 1);
});

Deno.test("a worker that dies takes only the guilty call with it", async () => {
  using text = await load(DEMO);
  const tokenIds = await text.encode("pipeline");
  using stream = text.openStream();
  assertEquals((await stream.push(tokenIds.slice(0, 1), false)).text.length > 0, true);
  using _ = interceptMessages((message) =>
    // A message that is no list of calls is an uncaught error in the worker.
    JSON.stringify(message).includes("[404]") ? { calls: null } : message
  );
  const guilty = text.decode([404]);
  const rest = stream.push(tokenIds.slice(1), true);
  assertEquals(await reasonOf(guilty), "worker");
  await rest;
  assertEquals(await text.decode(tokenIds), "pipeline");
});
