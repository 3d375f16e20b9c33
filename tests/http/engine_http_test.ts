/** Clients against a real engine: the `openai` package, curl, disconnects, draining. */
import { assert, assertEquals, assertLessOrEqual, assertStringIncludes } from "@std/assert";
import OpenAI from "openai";
import { initCheckpoint } from "../../src/models/init_checkpoint.ts";
import { presetConfig } from "../../src/models/presets.ts";
import { eventually, metric, metrics, startServe } from "./serve_process.ts";
import { readEvents } from "./sse.ts";

const messages = [{ role: "user" as const, content: "What is 45 + 16?" }];

Deno.test("serve: the openai client chats, streams, lists models and gets errors", async () => {
  await using server = await startServe("--api-key", "secret", "--served-model-name", "demo");
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "secret", maxRetries: 0 });
  const request = { model: "demo", messages, temperature: 0 };
  const whole = await client.chat.completions.create(request);
  assertEquals(whole.choices[0].message.content, "45 + 16 = 61");
  assertEquals(whole.choices[0].finish_reason, "stop");
  let streamed = "";
  let usage: OpenAI.CompletionUsage | null | undefined;
  const stream = await client.chat.completions.create({
    ...request,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const chunk of stream) {
    streamed += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assertEquals(streamed, "45 + 16 = 61");
  assertEquals(usage?.prompt_tokens, whole.usage?.prompt_tokens);
  const models = await Array.fromAsync(await client.models.list());
  assertEquals(models.map(({ id }) => id), ["demo"]);
  const refused = await client.chat.completions.create({ ...request, n: 0 }).catch((e) => e);
  assert(refused instanceof OpenAI.BadRequestError);
  assertEquals(refused.param, "n");
  const stranger = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "wrong", maxRetries: 0 });
  const denied = await stranger.models.list().catch((e) => e);
  assert(denied instanceof OpenAI.AuthenticationError);
});

Deno.test("serve: curl gets echoed prompt log-probabilities", async () => {
  await using server = await startServe();
  const body = { prompt: "The KV cache", echo: true, logprobs: 1, max_tokens: 0 };
  const { stdout } = await new Deno.Command("curl", {
    args: [
      ...["-s", `${server.url}/v1/completions`, "-H", "content-type: application/json"],
      ...["-d", JSON.stringify(body)],
    ],
  }).output();
  const choice = JSON.parse(new TextDecoder().decode(stdout)).choices[0];
  assertEquals(choice.text, "The KV cache");
  assertEquals(choice.logprobs.token_logprobs[0], null);
  assertEquals(choice.logprobs.tokens.join(""), "The KV cache");
  assert(choice.logprobs.token_logprobs.slice(1).every((logprob: number) => logprob < 0));
});

Deno.test("serve: a client that disconnects frees its blocks within D + 1 steps", async () => {
  // A model whose steps are long against the time that a disconnect takes to be seen.
  const folder = await Deno.makeTempDir();
  try {
    const config = presetConfig("smollm-135m");
    initCheckpoint({ config, seed: 1n, dtype: "bf16", out: `${folder}/model` });
    await using server = await startServe("--model", `${folder}/model`, "--threads", "1");
    const stream = (prompt: number[], signal?: AbortSignal) =>
      fetch(`${server.url}/v1/completions`, {
        method: "POST",
        signal,
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ prompt, max_tokens: 150, ignore_eos: true, stream: true }),
      });
    const staying = await stream([1]);
    const leaving = new AbortController();
    const reader = (await stream(new Array(800).fill(2), leaving.signal)).body!.getReader();
    await reader.read();
    const used = async () => {
      const text = await metrics(server.url);
      const blocks = metric(text, "weft:kv_blocks_total") - metric(text, "weft:kv_blocks_free");
      return { blocks, steps: metric(text, "weft:steps_total") };
    };
    const before = await used();
    assert(before.blocks > 50, `${before.blocks} blocks in use`);
    leaving.abort();
    let after = await used();
    await eventually(async () => (after = await used()).blocks < 20, { what: "blocks are free" });
    // D = 2 plans are under way (one stage, one ahead). A scrape may be a step old, at both ends.
    assertLessOrEqual(after.steps - before.steps, 2 + 1 + 2);
    const { events, done } = await readEvents(staying);
    assert(done);
    assertEquals(events.at(-1).choices[0].finish_reason, "length");
    assertEquals(await server.stop(), 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("serve: SIGTERM lets streams finish, refuses new ones, and exits 0", async () => {
  await using server = await startServe("--tensor-parallel-size", "2");
  const body = { prompt: "Pipeline", max_tokens: 400, ignore_eos: true, stream: true };
  const post = () =>
    fetch(`${server.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const streams = await Promise.all([post(), post(), post()]);
  const exit = server.stop("SIGTERM");
  for (const stream of await Promise.all(streams.map(readEvents))) {
    assert(stream.done);
    assertEquals(stream.events.at(-1).choices[0].finish_reason, "length");
  }
  assertEquals(await exit, 0);
});

Deno.test("serve: a port in use and a missing model are one clear line, exit 1", async () => {
  await using server = await startServe();
  const port = new URL(server.url).port;
  for (
    const [args, text] of [
      [["--port", port], port],
      [["--model", "/nonexistent"], "/nonexistent"],
      [["--tensor-parallel-size", "3"], "sizes that work: 1, 2, 4, 8"],
    ] as const
  ) {
    const { code, stderr, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "mod.ts", "serve", ...args],
      cwd: new URL("../../", import.meta.url),
    }).output();
    assertEquals(code, 1);
    assertEquals(stdout.length, 0);
    const log = new TextDecoder().decode(stderr);
    assertStringIncludes(log, text);
    assert(!log.includes("    at "), log);
  }
});
