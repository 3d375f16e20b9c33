import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ReplicaRouter } from "../../src/serving/mod.ts";
import { FakeReplica } from "./fake_replica.ts";
import { eventsOf, eventually, postJson, testServer } from "./test_server.ts";

const COMPLETIONS = "/v1/completions";
const LONG = "x".repeat(150);
const endless = { prompt: [1], stream: true, max_tokens: 150 };

Deno.test("headers arrive with the first event, events as they are made", async () => {
  const steps = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
  await using server = await testServer({ says: "ab", before: (chunk) => steps[chunk].promise });
  let answered = false;
  const answer = postJson(server.url + COMPLETIONS, { prompt: "a", stream: true })
    .finally(() => answered = true);
  await eventually(() => server.replica.active === 1);
  assertEquals([server.replica.chunks, answered], [0, false], "the weights are not known yet");
  steps[0].resolve();
  const response = await answer;
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (const [chunk, text] of ["a", "b", ""].entries()) {
    steps[chunk].resolve();
    const { value } = await reader.read();
    assertEquals(JSON.parse(eventsOf(value!)[0]).choices[0].text, text);
    assertEquals(server.replica.chunks, chunk + 1, "an event waits for no other");
  }
  await reader.cancel();
});

Deno.test("a client that disconnects aborts its generations", async () => {
  const whole = { ...endless, stream: false };
  // A body beyond a few packets, too: Deno.serve would not notice.
  const long = { ...whole, user: "x".repeat(20_000) };
  for (const body of [endless, whole, long, { ...endless, prompt: [[1], [2]] }]) {
    await using server = await testServer({ says: LONG, delayMs: 20 });
    const client = new AbortController();
    const response = postJson(server.url + COMPLETIONS, body, { signal: client.signal });
    const ended = response.then((r) => r.text()).then(() => "whole", () => "cut");
    await eventually(() => server.replica.chunks >= 2);
    client.abort();
    assertEquals(await ended, "cut");
    await eventually(() => server.replica.active === 0);
    assertEquals(server.replica.aborted, body.prompt.length === 2 ? 2 : 1);
    assertEquals(server.gate.active, 0);
  }
});

Deno.test("a reader that stops holds the stream back, and is cut off in time", async () => {
  // 150 events of about 120 kB are more than the sockets' buffers hold.
  const fingerprint = "f".repeat(120_000);
  await using server = await testServer({ says: LONG }, {
    systemFingerprint: fingerprint,
    stallTimeoutMs: 300,
  });
  using connection = await Deno.connect({ port: Number(new URL(server.url).port) });
  const body = JSON.stringify(endless);
  const request = `POST ${COMPLETIONS} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n` +
    `content-length: ${body.length}\r\n\r\n${body}`;
  await connection.write(new TextEncoder().encode(request));
  await eventually(() => server.replica.chunks > 5 && server.gate.active === 1);
  await eventually(() => server.gate.active === 0);
  assert(server.replica.chunks < 150, `${server.replica.chunks} chunks were taken`);
});

Deno.test("curl: stream, whole, error, models, large upload", async () => {
  await using server = await testServer({ says: "ab" }, { maxBodyBytes: 1000 });
  const post = (body: string) => [
    server.url + COMPLETIONS,
    "-H",
    "content-type: application/json",
    "-d",
    body,
  ];
  assertEquals(JSON.parse((await curl(...post('{"prompt": "a"}'))).body).choices[0].text, "ab");
  const stream = await curl("-N", ...post('{"prompt": "a", "stream": true}'));
  assertEquals(eventsOf(stream.body).at(-1), "[DONE]");
  const bad = await curl(...post('{"prompt": "a", "n": 0}'));
  assertEquals([bad.status, JSON.parse(bad.body).error.param], [400, "n"]);
  const form = await curl(server.url + COMPLETIONS, "-d", '{"prompt": "a"}');
  assertEquals(form.status, 415);
  const models = await curl(`${server.url}/v1/models`);
  assertEquals(JSON.parse(models.body).data[0].id, "fake");
  const large = await curl(...post("@-"), { stdin: "x".repeat(200_000) });
  assertEquals(large.status, 413);
});

Deno.test("an engine that dies in mid-stream: an error event, no [DONE]; the next request goes on", async () => {
  const replicas = [
    new FakeReplica({ says: LONG, delayMs: 5, diesAfter: 3 }),
    new FakeReplica({ says: "ok" }),
  ];
  await using server = await testServer({}, { replica: new ReplicaRouter(replicas) });
  const response = await postJson(server.url + COMPLETIONS, endless);
  const events = eventsOf(await response.text());
  assert(!events.includes("[DONE]"));
  assertStringIncludes(JSON.parse(events.at(-1)!).error.message, "a rank was killed");
  const health = await (await fetch(`${server.url}/health`)).json();
  assertEquals(health.status, "degraded");
  const next = await (await postJson(server.url + COMPLETIONS, { prompt: "a" })).json();
  assertEquals(next.choices[0].text, "ok");
});

Deno.test("a replica that dies before its first chunk is replaced unnoticed", async () => {
  const replicas = [new FakeReplica({ diesAfter: 0 }), new FakeReplica({ says: "ok" })];
  await using server = await testServer({}, { replica: new ReplicaRouter(replicas) });
  const response = await postJson(server.url + COMPLETIONS, { prompt: "a", stream: true });
  const events = eventsOf(await response.text());
  assertEquals(events.at(-1), "[DONE]");
  assertEquals(JSON.parse(events[0]).choices[0].text, "o");
});

Deno.test("a drain lets streams finish, refuses new requests and says so", async () => {
  const server = await testServer({ says: "abcdef", delayMs: 40 });
  const stream = await postJson(server.url + COMPLETIONS, { prompt: "a", stream: true });
  await eventually(() => server.replica.chunks > 0);
  const stopped = server.shutdown(60_000);
  const health = await fetch(`${server.url}/health`);
  assertEquals([health.status, (await health.json()).status], [503, "draining"]);
  const refused = await postJson(server.url + COMPLETIONS, { prompt: "a" });
  assertEquals([refused.status, (await refused.json()).error.code], [503, "draining"]);
  const events = eventsOf(await stream.text());
  assertEquals(events.at(-1), "[DONE]");
  assertEquals(events.length, 8);
  await stopped;
});

Deno.test("when the grace is over what is left is cancelled, half requests too", async () => {
  const server = await testServer({ says: LONG, delayMs: 20 });
  const port = Number(new URL(server.url).port);
  using half = await Deno.connect({ port });
  await half.write(new TextEncoder().encode(`POST ${COMPLETIONS} HTTP/1.1\r\nhost:`));
  using unsent = await Deno.connect({ port });
  await unsent.write(new TextEncoder().encode(
    `POST ${COMPLETIONS} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n` +
      "content-length: 100\r\n\r\n{",
  ));
  const stream = await postJson(server.url + COMPLETIONS, endless);
  const text = stream.text();
  await eventually(() => server.replica.chunks > 0 && server.gate.active === 2);
  const began = performance.now();
  await server.shutdown(50);
  assert(performance.now() - began < 4000);
  const events = eventsOf(await text);
  assertEquals(JSON.parse(events.at(-1)!).error.code, "cancelled");
  assertEquals(server.replica.active, 0);
  await eventually(() => server.gate.active === 0);
});

async function curl(
  ...args: (string | { readonly stdin: string })[]
): Promise<{ status: number; body: string }> {
  const stdin = args.find((arg) => typeof arg === "object")?.stdin;
  const child = new Deno.Command("curl", {
    args: ["-sS", "-w", "\n%{http_code}", ...args.filter((arg) => typeof arg === "string")],
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (stdin !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(stdin));
    await writer.close();
  }
  const { stdout, stderr } = await child.output();
  const text = new TextDecoder().decode(stdout);
  const end = text.lastIndexOf("\n");
  const status = Number(text.slice(end + 1));
  assert(status > 0, new TextDecoder().decode(stderr));
  return { status, body: text.slice(0, end) };
}
