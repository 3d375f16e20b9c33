/** `weft serve` with several replicas, each a process: one server to its clients, whatever becomes of a replica. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import OpenAI from "openai";
import { childrenOf, isRunning } from "./processes.ts";
import { eventually, metric, metrics, type ServeProcess, startServe } from "./serve_process.ts";
import { readEvents } from "./sse.ts";

const TWO = ["--data-parallel-size", "2", "--threads", "1", "--max-model-len", "256"];
const REQUEST = { prompt: "The KV cache", max_tokens: 60, ignore_eos: true, temperature: 0 };

function post(server: ServeProcess, body: object, init: RequestInit = {}): Promise<Response> {
  return fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...REQUEST, ...body }),
    ...init,
  });
}

/** The text; anything but an answer throws. */
async function whole(server: ServeProcess, body: object = {}): Promise<string> {
  const response = await post(server, body);
  const text = await response.text();
  if (response.status !== 200) throw new Error(text);
  return JSON.parse(text).choices[0].text;
}

/** The text, or null when the stream ended with an error event; anything else throws. */
async function streamed(server: ServeProcess, body: object = {}): Promise<string | null> {
  const response = await post(server, { ...body, stream: true });
  if (response.status !== 200) throw new Error(await response.text());
  const { events, done } = await readEvents(response);
  if (done) return events.map(({ choices }) => choices[0].text).join("");
  assertEquals(events.at(-1).error.code, "replica_lost");
  return null;
}

// deno-lint-ignore no-explicit-any
async function health(server: ServeProcess): Promise<any> {
  return await (await fetch(`${server.url}/health`)).json();
}

Deno.test("two replicas are one server: API, keys, health, metrics, a client that goes, a server that is killed", async () => {
  Deno.env.set("HTTP_PROXY", "http://127.0.0.1:1"); // No proxy stands before replicas.
  const starting = startServe(
    ...TWO,
    ...["--api-key", "other", "--api-key", "secret", "--admin-api-key", "admin"],
    ...["--served-model-name", "demo", "--balancing-policy", "round-robin"],
    ...["--log-format", "json", "--enable-log-requests"],
  );
  Deno.env.delete("HTTP_PROXY"); // The process has it by now.
  await using server = await starting;
  assertStringIncludes(server.readyLine, "/v1/chat/completions");
  const authorized = { headers: { authorization: "Bearer secret" } };
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "secret", maxRetries: 0 });
  const messages = [{ role: "user" as const, content: "What is 45 + 16?" }];
  const request = { model: "demo", messages, temperature: 0 };
  for (let replica = 0; replica < 2; replica++) {
    const answer = await client.chat.completions.create(request);
    assertEquals(answer.choices[0].message.content, "45 + 16 = 61");
  }
  const stream = await client.chat.completions.create({
    ...request,
    stream: true,
    stream_options: { include_usage: true },
  });
  let [text, answerId] = ["", ""];
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
    answerId = chunk.id;
  }
  assertEquals([text, usage?.completion_tokens], ["45 + 16 = 61", 11]);
  assertEquals((await Array.fromAsync(await client.models.list())).map(({ id }) => id), ["demo"]);
  const refused = await client.chat.completions.create({ ...request, n: 0 }).catch((e) => e);
  assert(refused instanceof OpenAI.BadRequestError && refused.param === "n");
  const stranger = await post(server, {});
  assertEquals([stranger.status, (await stranger.json()).error.code], [401, "invalid_api_key"]);
  const wrong = await fetch(`${server.url}/v1/completions`, { ...authorized, method: "PUT" });
  assertEquals([wrong.status, wrong.headers.get("allow")], [405, "POST"]);
  await wrong.body?.cancel();
  const document = await (await fetch(`${server.url}/openapi.json`, authorized)).json();
  assertEquals(document.info.title, "weft");

  const page = await fetch(`${server.url}/docs`, authorized);
  assertMatch(page.headers.get("content-security-policy")!, /^default-src 'none'/);
  assertStringIncludes(await page.text(), "/v1/chat/completions");
  assertEquals((await fetch(`${server.url}/ready`, authorized)).status, 200);
  const tokenized = await fetch(`${server.url}/tokenize`, {
    method: "POST",
    headers: { ...authorized.headers, "content-type": "application/json" },
    body: JSON.stringify({ messages }),
  });
  assertEquals((await tokenized.json()).count, usage?.prompt_tokens);

  const { status, balancing, weight_version, engines } =
    await (await fetch(`${server.url}/health`, authorized))
      .json();
  assertEquals([status, balancing], ["ok", "round-robin"]);
  // deno-lint-ignore no-explicit-any
  assertEquals(engines.map((engine: any) => engine.weight_version), Array(2).fill(weight_version));
  // deno-lint-ignore no-explicit-any
  assertEquals(engines.map((engine: any) => [engine.engine, engine.healthy]), [
    ["0", true],
    ["1", true],
  ]);
  const scrape = async (): Promise<string> =>
    await (await fetch(`${server.url}/metrics`, authorized)).text();
  const scraped = await scrape();
  const labels = (engine: number): string => `{model_name="demo",engine="${engine}"`;
  for (const engine of [0, 1]) {
    assertEquals(metric(scraped, "weft:engine_up", labels(engine)), 1);
    assert(metric(scraped, "vllm:generation_tokens_total", labels(engine)) > 0);
  }
  assertEquals(metric(scraped, "vllm:time_to_first_token_seconds_count"), 3);
  assertEquals(metric(scraped, "vllm:request_queue_time_seconds_count"), 3);
  assertEquals(metric(scraped, "vllm:inter_token_latency_seconds_count"), 30);
  assertEquals(scraped.match(/^# TYPE vllm:num_requests_running /gm)?.length, 1);
  assertEquals(metric(scraped, "weft:replica_requests_total", 'replica="1"') > 0, true);

  // The key of the replicas is theirs alone, and no other user can read it.
  const replicas = childrenOf(server.pid);
  assertEquals(replicas.length, 2);
  for (const pid of replicas) {
    const environment = Deno.readTextFileSync(`/proc/${pid}/environ`);
    const [, key] = /WEFT_API_KEY=([0-9a-f]{64})\0/.exec(environment)!;
    assert(!Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes(key));
  }

  // A long body too: some servers do not say when its sender has gone.
  const gone = new AbortController();
  const body = { max_tokens: 200, user: "x".repeat(20_000) };
  const leaving = Array.from({ length: 8 }, () =>
    post(server, body, {
      signal: gone.signal,
      headers: { ...authorized.headers, "content-type": "application/json" },
    }).then((response) => response.text()).catch(() => "gone"));
  const running = async (): Promise<number> => metric(await scrape(), "vllm:num_requests_running");
  await eventually(async () => await running() > 0, { what: "they run" });
  gone.abort();
  await eventually(async () => await running() === 0, { what: "they have been cancelled" });
  assertEquals(new Set(await Promise.all(leaving)), new Set(["gone"]));

  const events = server.log().trimEnd().split("\n").map((line) => JSON.parse(line));
  const told = events.filter(({ path }) => path === "/v1/chat/completions");
  assertEquals(told.map((event) => event.status), [200, 200, 200, 400]);
  assertEquals(told[2].request_id, answerId.replace("chatcmpl-", ""));

  await server.stop("SIGKILL");
  await eventually(() => !replicas.some(isRunning), { what: "the replicas have ended" });
});

/** The demo model in a folder of its own, which is removed when disposed. */
async function copiedModel(): Promise<AsyncDisposable & { readonly folder: string }> {
  const parent = await Deno.makeTempDir();
  const folder = `${parent}/demo`;
  await Deno.mkdir(folder);
  const source = new URL("../../models/demo/", import.meta.url);
  for await (const { name, isFile } of Deno.readDir(source)) {
    if (isFile) await Deno.copyFile(new URL(name, source), `${folder}/${name}`);
  }
  return { folder, [Symbol.asyncDispose]: () => Deno.remove(parent, { recursive: true }) };
}

Deno.test("a replica is killed under load and comes back when it can; a stop under load loses nothing", async () => {
  await using model = await copiedModel();
  await using server = await startServe(...TWO, "--model", model.folder);
  const replicas = childrenOf(server.pid);
  const text = await whole(server);
  const load = async (body?: object) => {
    const wholes = Array.from({ length: 12 }, () => whole(server, body));
    const streams = Array.from({ length: 12 }, () => streamed(server, body));
    return { wholes: await Promise.all(wholes), streams: await Promise.all(streams) };
  };
  const killed = load();
  await eventually(async () => (await health(server)).engines[0].running > 4, { what: "it works" });
  await Deno.rename(model.folder, `${model.folder}-away`);
  Deno.kill(replicas[0], "SIGKILL");
  const { wholes, streams } = await killed;
  assertEquals(wholes, wholes.map(() => text));
  for (const answer of streams) assert(answer === null || answer === text);
  assert(streams.some((answer) => answer === text), "the other replica's streams went on");
  await eventually(() => server.log().includes("replica 0: its process ended with code 1 before"), {
    what: "without its model it can't start",
    timeoutMs: 60_000,
  });
  const without = await health(server);
  assertEquals([without.status, without.engines[0].healthy], ["degraded", false]);
  assertMatch(without.engines[0].failure, /^its process /);
  assertEquals(await whole(server), text);
  await Deno.rename(`${model.folder}-away`, model.folder);
  await eventually(async () => (await health(server)).status === "ok", {
    what: "it is back",
    timeoutMs: 60_000,
  });
  // It has not packed the weights again, unless the system lets nobody share them.
  const [{ backend }] = (await health(server)).engines;
  assertMatch(backend.packedWeights, /packed by another replica of the host$|^not shared/);
  assertMatch(server.log(), /replica 0: its process was killed by SIGKILL: starting it again in/);
  assertStringIncludes(server.log(), `replica 0: Cannot find the model folder: ${model.folder}`);
  const all = childrenOf(server.pid);
  assertEquals([all.length, all.includes(replicas[1])], [2, true]);
  assertEquals(metric(await metrics(server.url), "weft:engine_up"), 2);

  const long = { max_tokens: 120 };
  const longText = await whole(server, long);
  const last = load(long);
  const active = async (): Promise<number> =>
    // deno-lint-ignore no-explicit-any
    (await health(server)).replicas.reduce((sum: number, { active }: any) => sum + active, 0);
  await eventually(async () => await active() === 24, { what: "all are inside" });
  assertEquals(await server.stop("SIGTERM"), 0);
  const { wholes: ended, streams: streamsEnded } = await last;
  assertEquals([...ended, ...streamsEnded], Array(24).fill(longText));
  assert(!all.some(isRunning), "no process is left");
});

Deno.test("a replica that can't be started ends the server with its own words", async () => {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "mod.ts", "serve", "--port", "0", "--data-parallel-size", "2"],
      ...["--tensor-parallel-size", "3"],
    ],
    cwd: new URL("../../", import.meta.url),
    env: { NO_COLOR: "1" },
  }).output();
  const log = new TextDecoder().decode(stderr);
  assertEquals([code, stdout.length], [1, 0], log);
  const errors = log.split("\n").filter((line) => line.includes(" ERROR "));
  assertEquals(errors.length, 1, log);
  assertMatch(errors[0], /ERROR Cannot start replica 0: Cannot shard .* sizes that work: 1, 2/);
});
