import OpenAI from "openai";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { RequestGate } from "../../src/serving/mod.ts";
import { FakeUpstream } from "./fake_upstream.ts";
import { routerOver } from "./router_fixture.ts";
import { startRoute } from "./serve_process.ts";
import { testApp, testServer } from "./test_server.ts";

const COMPLETIONS = "/v1/completions";
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

Deno.test("any of several keys opens every route, and nothing else does", async () => {
  const { app } = testApp({}, { apiKey: ["one", "two", "three"], adminApiKey: "admin" });
  const status = async (key: string, path = "/health"): Promise<number> => {
    const response = await app.request(path, { headers: bearer(key) });
    await response.body?.cancel();
    return response.status;
  };
  for (const key of ["one", "two", "three"]) assertEquals(await status(key), 200);
  for (const key of ["", "on", "onee", "one two", "admin"]) assertEquals(await status(key), 401);
  assertEquals([await status("one", "/admin/weights"), await status("admin", "/admin/weights")], [
    401,
    404,
  ]);
});

Deno.test("openai: a key beyond its limit gets 429 that names it; other keys, and other routes, do not", async () => {
  await using server = await testServer({}, {
    apiKey: ["one", "two"],
    keyLimits: { requestsPerMinute: 2 },
  });
  const ask = (apiKey: string) =>
    new OpenAI({ baseURL: `${server.url}/v1`, apiKey, maxRetries: 0 })
      .completions.create({ model: "fake", prompt: "a" });
  await ask("one");
  await ask("one");
  const refused = await ask("one").catch((error) => error);
  assert(refused instanceof OpenAI.RateLimitError);
  assertEquals(refused.code, "rate_limit_exceeded");
  assertStringIncludes(refused.message, "limit of requests per minute: 2");
  const wait = Number(refused.headers.get("retry-after"));
  assert(wait >= 1 && wait <= 60, String(wait));
  await ask("two");
  const health = await fetch(`${server.url}/health`, { headers: bearer("one") });
  assertEquals(health.status, 200);
  await health.body?.cancel();
});

Deno.test("a stream keeps its key's place to its end; who is refused takes none anywhere", async () => {
  const gate = new RequestGate();
  const { post } = testApp({}, { apiKey: "one", keyLimits: { maxConcurrency: 1 }, gate });
  const stream = await post(COMPLETIONS, { prompt: "a", stream: true }, bearer("one"));
  for (const [path, body] of [[COMPLETIONS, { prompt: "a" }], ["/tokenize", { prompt: "a" }]]) {
    const refused = await post(path as string, body, bearer("one"));
    assertEquals([refused.status, refused.headers.get("retry-after")], [429, "1"]);
    assertEquals((await refused.json()).error.code, "concurrency_limit_exceeded");
    assertEquals(gate.active, 1);
  }
  await stream.text();
  const whole = await post(COMPLETIONS, { prompt: "a" }, bearer("one"));
  assertEquals(whole.status, 200);
  await whole.body?.cancel();
  assertEquals(gate.active, 0);
});

Deno.test("a full server does not count against a key", async () => {
  const gate = new RequestGate({ maxQueuedRequests: 1 });
  const { post } = testApp({}, { apiKey: "one", keyLimits: { requestsPerMinute: 1 }, gate });
  const place = gate.enter();
  const full = await post(COMPLETIONS, { prompt: "a" }, bearer("one"));
  assertEquals((await full.json()).error.code, "queue_full");
  place[Symbol.dispose]();
  assertEquals((await post(COMPLETIONS, { prompt: "a" }, bearer("one"))).status, 200);
});

Deno.test("a router holds keys to their limits before a replica is asked", async () => {
  await using router = await routerOver(["serves"], {
    apiKey: ["one", "two"],
    keyLimits: { requestsPerMinute: 1 },
  });
  const statuses: number[] = [];
  for (const key of ["one", "one", "two"]) {
    const response = await router.post({}, { headers: bearer(key) });
    await response.body?.cancel();
    statuses.push(response.status);
  }
  assertEquals(statuses, [200, 429, 200]);
  assertEquals(router.upstreams[0].bodies.length, 2);
});

Deno.test("route: keys of a file, limits, and a log of objects with the ids of requests", async () => {
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, "# tenants\nfrom-file\n");
  await using upstream = new FakeUpstream("r0", "serves");
  await using server = await startRoute(
    ...["--replica", upstream.url, "--api-key", "one", "--api-key-file", file],
    ...["--admin-api-key", "admin", "--key-requests-per-minute", "1"],
    ...["--log-format", "json", "--enable-log-requests"],
  );
  await Deno.remove(file);
  const ask = async (key: string, id: string): Promise<number> => {
    const response = await fetch(`${server.url}${COMPLETIONS}`, {
      method: "POST",
      headers: { ...bearer(key), "content-type": "application/json", "x-request-id": id },
      body: JSON.stringify({ prompt: [1] }),
    });
    assertEquals(response.headers.get("x-request-id"), id);
    await response.body?.cancel();
    return response.status;
  };
  assertEquals(await ask("one", "a"), 200);
  assertEquals(await ask("from-file", "b"), 200);
  assertEquals(await ask("from-file", "c"), 429);
  assertEquals(await ask("none", "d"), 401);
  assertEquals(await server.stop(), 0);
  const events = server.log().trimEnd().split("\n").map((line) => JSON.parse(line));
  const requests = events.filter((event) => "request_id" in event);
  assertEquals(requests.map((event) => [event.request_id, event.status, event.path]), [
    ["a", 200, COMPLETIONS],
    ["b", 200, COMPLETIONS],
    ["c", 429, COMPLETIONS],
    ["d", 401, COMPLETIONS],
  ]);
  assert(events.every(({ time, level, message }) => time && level && message));
  assert(!server.log().includes("from-file"), "keys are not logged");
});
