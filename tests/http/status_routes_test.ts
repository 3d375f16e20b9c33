import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import manifest from "../../deno.json" with { type: "json" };
import { ReplicaRouter, RequestGate } from "../../src/serving/mod.ts";
import { FakeReplica } from "./fake_replica.ts";
import { FakeWeights } from "./fake_weights.ts";
import { type Json, testApp } from "./test_server.ts";

const COMPLETIONS = "/v1/completions";

Deno.test("models are listed under every name", async () => {
  const { app } = testApp({}, { modelName: "org/main", aliases: ["short"] });
  const list = await (await app.request("/v1/models")).json();
  assertEquals(list.object, "list");
  assertEquals(list.data.map(({ id, root }: Record<string, string>) => [id, root]), [
    ["org/main", "org/main"],
    ["short", "org/main"],
  ]);
  assertEquals(list.data[0].max_model_len, 200);
  for (const path of ["/v1/models/org/main", "/v1/models/org%2Fmain"]) {
    assertEquals((await (await app.request(path)).json()).id, "org/main");
  }
  const other = await app.request("/v1/models/other");
  assertEquals([other.status, (await other.json()).error.code], [404, "model_not_found"]);
});

Deno.test("health tells ok, degraded and dead apart", async () => {
  const replicas = [new FakeReplica(), new FakeReplica()];
  const { app, post } = testApp({}, { replica: new ReplicaRouter(replicas) });
  const health = async () => {
    const response = await app.request("/health");
    const { status, balancing, engines } = await response.json();
    assertEquals(balancing, "least-loaded");
    return [response.status, status, engines.map((e: { failure: string | null }) => e.failure)];
  };
  assertEquals(await health(), [200, "ok", [null, null]]);
  replicas[0].die("rank 1 was killed");
  assertEquals(await health(), [200, "degraded", ["rank 1 was killed", null]]);
  const served = await post(COMPLETIONS, { prompt: "a" });
  assertEquals([served.status, replicas[1].requests.length], [200, 1]);
  await served.body?.cancel();
  replicas[1].die("out of memory");
  assertEquals(await health(), [503, "dead", ["rank 1 was killed", "out of memory"]]);
  const refused = await post(COMPLETIONS, { prompt: "a" });
  assertEquals([refused.status, (await refused.json()).error.code], [503, "engine_dead"]);
});

Deno.test("metrics carry vLLM's names, read from the engines when asked", async () => {
  const replicas = [new FakeReplica({ says: "ab" }), new FakeReplica({ says: "ab" })];
  const { app, json } = testApp({}, { replica: new ReplicaRouter(replicas) });
  await json(COMPLETIONS, { prompt: [[1], [2], [3]], max_tokens: 2 });
  replicas[1].stats = { ...replicas[1].stats, running: 3, waiting: 2, preemptions: 4 };
  replicas[1].die("killed");
  const response = await app.request("/metrics");
  assertStringIncludes(response.headers.get("content-type")!, "text/plain");
  const text = await response.text();
  const value = (name: string, engine: number, extra = ""): number => {
    const prefix = `${name}{model_name="fake",engine="${engine}"${extra}} `;
    const line = text.split("\n").find((line) => line.startsWith(prefix));
    assert(line !== undefined, `${prefix} is missing:\n${text}`);
    return Number(line.slice(prefix.length));
  };
  assertEquals(value("vllm:num_requests_running", 1), 3);
  assertEquals(value("vllm:num_requests_waiting", 1), 2);
  assertEquals(value("vllm:num_preemptions_total", 1), 4);
  assertEquals(value("vllm:num_preemptions_total", 0), 0);
  assertEquals(value("vllm:generation_tokens_total", 0), 4);
  assertEquals(value("vllm:prompt_tokens_total", 0), 0);
  assertEquals(value("weft:steps_total", 1), 2);
  assertEquals(value("weft:kv_blocks_free", 0), 16);
  assertEquals(value("weft:kv_blocks_total", 0), 20);
  assert(Math.abs(value("vllm:kv_cache_usage_perc", 0) - 0.2) < 1e-12);
  assertEquals(value("vllm:gpu_cache_usage_perc", 0), value("vllm:kv_cache_usage_perc", 0));
  assertEquals([value("weft:engine_up", 0), value("weft:engine_up", 1)], [1, 0]);
  assertEquals(value("vllm:request_success_total", 0, ',finished_reason="length"'), 2);
  assertEquals(value("vllm:request_success_total", 1, ',finished_reason="length"'), 1);
  assertEquals(value("vllm:time_to_first_token_seconds_count", 0), 2);
  assertEquals(value("vllm:e2e_request_latency_seconds_count", 1), 1);
  const again = await (await app.request("/metrics")).text();
  assertEquals(again, text, "a scrape changes nothing");
});

Deno.test("every app has metrics of its own", async () => {
  const [one, two] = [testApp(), testApp()];
  await one.json(COMPLETIONS, { prompt: "a" });
  const text = await (await two.app.request("/metrics")).text();
  assert(!/^vllm:request_success_total\{/m.test(text));
});

Deno.test("with an API key every route asks for it", async () => {
  const { app, post } = testApp({}, { apiKey: "secret-key" });
  const routes: [string, string][] = [
    ["GET", "/health"],
    ["GET", "/metrics"],
    ["GET", "/v1/models"],
    ["GET", "/openapi.json"],
    ["GET", "/docs"],
    ["GET", "/ready"],
    ["GET", "/version"],
    ["GET", "/nowhere"],
    ["POST", "/tokenize"],
    ["POST", "/detokenize"],
    ["POST", COMPLETIONS],
  ];
  const wrong: Record<string, string>[] = [
    {},
    { authorization: "Bearer" },
    { authorization: "Bearer secret" },
    { authorization: "Basic secret-key" },
  ];
  for (const [method, path] of routes) {
    for (const headers of wrong) {
      const response = await app.request(path, { method, headers });
      assertEquals(response.headers.get("www-authenticate"), "Bearer");
      const { error } = await response.json();
      assertEquals([response.status, error.code], [401, "invalid_api_key"]);
      assertEquals(error.type, "authentication_error");
    }
  }
  const headers = { authorization: "bearer secret-key" };
  const document = await (await app.request("/openapi.json", { headers })).json();
  assertEquals(document.security, [{ ApiKey: [] }]);
  assertEquals(document.components.securitySchemes.ApiKey, { type: "http", scheme: "bearer" });
  const page = await (await app.request("/docs", { headers })).text();
  assertStringIncludes(page, "Authorization: Bearer KEY");
  const good = await post(COMPLETIONS, { prompt: "a" }, headers);
  assertEquals(good.status, 200);
  await good.body?.cancel();
});

Deno.test("the OpenAPI document describes every route and field", async () => {
  const { app } = testApp();
  const document = await (await app.request("/openapi.json")).json();
  assertMatch(document.openapi, /^3\.1/);
  assertEquals(Object.keys(document.paths).sort(), [
    "/detokenize",
    "/health",
    "/metrics",
    "/ready",
    "/tokenize",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/models",
    "/v1/models/{model}",
    "/version",
  ]);
  const { CompletionRequest, ChatCompletionRequest } = document.components.schemas;
  assertEquals(CompletionRequest.properties.prompt.anyOf.length, 4);
  assertEquals(CompletionRequest.additionalProperties, false);
  assertEquals(ChatCompletionRequest.required, ["messages"]);
  assertEquals(ChatCompletionRequest.properties.store.enum, [null, false]);
});

Deno.test("ready says 200 only while a request would be served", async () => {
  const gate = new RequestGate({ maxQueuedRequests: 1 });
  const replica = new FakeReplica();
  const weights = new FakeWeights(replica);
  const { app } = testApp({}, { gate, replica, weights });
  const ready = async () => {
    const response = await app.request("/ready");
    return [response.status, (await response.json()).status];
  };
  assertEquals(await ready(), [200, "ready"]);
  const place = gate.enter();
  assertEquals(await ready(), [503, "full"]);
  place[Symbol.dispose]();
  await weights.pause("hold");
  assertEquals(await ready(), [503, "paused"]);
  weights.resume();
  assertEquals(await ready(), [200, "ready"]);
  await gate.close();
  assertEquals(await ready(), [503, "draining"]);
  replica.die("killed");
  assertEquals(await ready(), [503, "dead"]);
});

Deno.test("the version is the package's", async () => {
  const { app } = testApp();
  assertEquals(await (await app.request("/version")).json(), { version: manifest.version });
});

Deno.test("a page shows the OpenAPI document, without scripts and from nowhere else", async () => {
  const { app } = testApp();
  const response = await app.request("/docs");
  assertStringIncludes(response.headers.get("content-type")!, "text/html");
  assertMatch(response.headers.get("content-security-policy")!, /^default-src 'none';/);
  const page = await response.text();
  const { paths, components } = await (await app.request("/openapi.json")).json();
  for (const path of Object.keys(paths)) assertStringIncludes(page, `<code>${path}</code>`);
  for (const [name, { properties = {} }] of Object.entries<Json>(components.schemas)) {
    assertStringIncludes(page, `id="schema-${name}"`);
    for (const field of Object.keys(properties)) {
      assertStringIncludes(page, `<code>${field}</code>`);
    }
  }
  for (const [, link] of page.matchAll(/href="#([^"]+)"/g)) {
    assertStringIncludes(page, `id="${link}"`);
  }
  assert(!/<script|\bsrc=|https?:/i.test(page));
  assertStringIncludes(page, "number | null (≥ 0, ≤ 2)");
});

Deno.test("options that cannot work are refused", () => {
  for (
    const options of [
      { modelName: "" },
      { aliases: [""] },
      { apiKey: "" },
      { apiKey: "two words" },
      { apiKey: "sésame" },
      { maxBodyBytes: 0 },
      { stallTimeoutMs: NaN },
      { bodyTimeoutMs: 2 ** 31 },
    ]
  ) {
    let error: unknown;
    try {
      testApp({}, options);
    } catch (thrown) {
      error = thrown;
    }
    assert(error instanceof RangeError, JSON.stringify(options));
  }
});
