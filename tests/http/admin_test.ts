/** The admin routes over real HTTP: keys, content types, each verb's answer, each error's status. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { EngineDeadError, UnsupportedRequestError } from "../../src/engine/types.ts";
import { WeightsError } from "../../src/engine/weights.ts";
import {
  listenRouter,
  RequestGate,
  RouterServer,
  type ServerOptions,
} from "../../src/serving/mod.ts";
import { HttpReplica } from "../../src/serving/router/http_replica.ts";
import { HttpUpdatableReplica } from "../../src/serving/router/http_updatable_replica.ts";
import { FakeReplica, type FakeScript } from "./fake_replica.ts";
import { FakeWeights } from "./fake_weights.ts";
import { eventsOf, eventually, type Json, postJson, testServer } from "./test_server.ts";

const COMPLETIONS = "/v1/completions";
const CHAT = "/v1/chat/completions";

/** A listening server whose weights can change. */
async function updatableServer(script: FakeScript = {}, options: Partial<ServerOptions> = {}) {
  const replica = new FakeReplica(script);
  const weights = new FakeWeights(replica);
  const server = await testServer({}, { replica, weights, ...options });
  return {
    url: server.url,
    replica,
    weights,
    post: (path: string, body: unknown = {}) => postJson(server.url + path, body),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Status of every key (none, the API key, the admin key, another) below `/admin`, and elsewhere. */
const KEYS = [undefined, "api", "admin", "other"] as const;
const ADMISSION: readonly [
  keys: { readonly apiKey?: string; readonly adminApiKey?: string },
  admin: readonly number[],
  elsewhere: readonly number[],
][] = [
  [{}, [200, 200, 200, 200], [200, 200, 200, 200]],
  [{ apiKey: "api" }, [401, 200, 401, 401], [401, 200, 401, 401]],
  [{ adminApiKey: "admin" }, [401, 401, 200, 401], [200, 200, 200, 200]],
  [{ apiKey: "api", adminApiKey: "admin" }, [401, 401, 200, 401], [401, 200, 401, 401]],
];

async function admission(url: string): Promise<number[]> {
  return await Promise.all(KEYS.map(async (key) => {
    const headers: HeadersInit = key === undefined ? {} : { authorization: `Bearer ${key}` };
    const response = await fetch(url, { headers });
    const body = await response.json();
    if (response.status === 401) assertEquals(body.error.code, "invalid_api_key");
    return response.status;
  }));
}

Deno.test("serve: below /admin the admin key is asked for where there is one, elsewhere the other", async () => {
  for (const [keys, admin, elsewhere] of ADMISSION) {
    await using server = await updatableServer({}, keys);
    assertEquals(await admission(`${server.url}/admin/weights`), admin);
    assertEquals(await admission(`${server.url}/openapi.json`), elsewhere);
    const unknown = admin.map((status) => status === 200 ? 404 : status);
    assertEquals(await admission(`${server.url}/admin/unknown`), unknown);
    assertEquals(await admission(`${server.url}/admin`), unknown);
  }
});

Deno.test("route: the same keys guard the same paths", async () => {
  for (const [keys, admin, elsewhere] of ADMISSION) {
    using router = new RouterServer(keys);
    await using listener = listenRouter({ router, gate: new RequestGate(), port: 0 });
    assertEquals(await admission(`${listener.url}/admin/replicas`), admin);
    const dead = elsewhere.map((status) => status === 200 ? 503 : status);
    assertEquals(await admission(`${listener.url}/health`), dead, "without replicas");
  }
});

Deno.test("keys that clients cannot send are refused", () => {
  for (const key of ["", "two words", "sésame"]) {
    let message = "";
    try {
      new RouterServer({ adminApiKey: key });
    } catch (error) {
      message = (error as RangeError).message;
    }
    assertStringIncludes(message, "the admin API key must be printable ASCII");
  }
});

Deno.test("what a web page can make a browser send is refused with 415, before any verb runs", async () => {
  await using server = await updatableServer();
  using router = new RouterServer();
  await using listener = listenRouter({ router, gate: new RequestGate(), port: 0 });
  const sendable: RequestInit[] = [
    {},
    { body: "{}" },
    { body: new URLSearchParams({ mode: "abort" }) },
    { body: new Blob(["{}"]) },
    { body: "{}", headers: { "content-type": "application/json; charset=latin1" } },
  ];
  const urls = [
    ...["pause", "resume", "weights/activate", "weights/update"].map((verb) =>
      `${server.url}/admin/${verb}`
    ),
    ...["", "/r0/drain", "/r0/resume"].map((path) => `${listener.url}/admin/replicas${path}`),
  ];
  for (const url of urls) {
    for (const init of sendable) {
      const response = await fetch(url, { method: "POST", ...init });
      const { error } = await response.json();
      assertEquals([response.status, error.code], [415, "unsupported_media_type"]);
      assertStringIncludes(error.message, "application/json in UTF-8: found ");
    }
  }
  const removal = `${listener.url}/admin/replicas/r0`;
  const statuses = await Promise.all([
    fetch(removal, { method: "DELETE" }),
    fetch(removal, { method: "DELETE", body: "{}" }),
    fetch(removal, { method: "PATCH" }),
  ].map(async (answer) => {
    const response = await answer;
    await response.body?.cancel();
    return response.status;
  }));
  assertEquals(statuses, [404, 415, 415], "a browser asks before it sends DELETE");
  assertEquals(server.weights.calls, []);
});

Deno.test("each verb is passed on and answers the status", async () => {
  await using server = await updatableServer();
  const { weights } = server;
  const one = { version: "fake", model: "/models/one" };
  const two = { version: "two", model: "/models/two" };
  const none = { paused: null, current: one, prepared: null, previous: null };
  const sha256 = "0123456789abcdefABCDEF".padEnd(64, "0");
  const read = async (): Promise<Json> => await (await fetch(`${server.url}/admin/weights`)).json();
  const steps: readonly [path: string, body: unknown, call: unknown[], status: object][] = [
    ["pause", { mode: "hold" }, ["pause", "hold"], { ...none, paused: "hold" }],
    ["pause", { mode: "abort" }, ["pause", "abort"], { ...none, paused: "abort" }],
    ["pause", { mode: "finish" }, ["pause", "finish"], { ...none, paused: "finish" }],
    ["resume", {}, ["resume"], none],
    [
      "weights/prepare",
      { ...two, sha256 },
      ["prepare", { ...two, sha256 }],
      { ...none, prepared: two },
    ],
    ["weights/activate", {}, ["activate"], { ...none, current: two, previous: one }],
    ["weights/revert", {}, ["revert"], { ...none, prepared: two }],
    ["weights/release", {}, ["release"], none],
    [
      "weights/update",
      { model: "/m", sha256: null, version: null },
      ["update", { model: "/m", sha256: undefined, version: undefined }],
      { ...none, current: { model: "/m", version: "version of /m" } },
    ],
  ];
  assertEquals(await read(), none);
  for (const [path, body, call, status] of steps) {
    const response = await server.post(`/admin/${path}`, body);
    assertEquals([response.status, await response.json()], [200, status], path);
    assertEquals(weights.calls.pop(), call);
    assertEquals(await read(), status);
  }
  const check = { set: "prepared", prompts: [[1, 2], [3]], max_tokens: 5 };
  const checked = await server.post("/admin/weights/check", check);
  assertEquals(await checked.json(), { outputs: [[1, 2, 7], [3, 7]] });
  assertEquals(weights.calls, [["check", "prepared", [[1, 2], [3]], 5]]);
  const bare = await postJson(`${server.url}/admin/resume`, {}, { body: "" });
  assertEquals([bare.status, await bare.json()], [200, weights.weights]);
});

Deno.test("each error of the engine has its status, and serving goes on", async () => {
  const seen: unknown[] = [];
  await using server = await updatableServer({}, { onError: (error) => seen.push(error) });
  const unexpected = new Error("secret path");
  const errors: readonly [Error, number, string | null][] = [
    [new WeightsError("Cannot take", { reason: "invalid" }), 400, "invalid_weights"],
    [new WeightsError("Cannot take", { reason: "conflict" }), 409, "weights_conflict"],
    [new WeightsError("Cannot take", { reason: "failed" }), 500, "update_failed"],
    [new WeightsError("Cannot take", { reason: "memory" }), 507, "insufficient_memory"],
    [new UnsupportedRequestError("Cannot take", "maxTokens"), 400, null],
    [new EngineDeadError("Cannot take"), 503, "engine_dead"],
    [unexpected, 500, null],
  ];
  const verbs: readonly [string, object][] = [
    ["pause", { mode: "finish" }],
    ["resume", {}],
    ["weights/prepare", { model: "/m" }],
    ["weights/activate", {}],
    ["weights/revert", {}],
    ["weights/release", {}],
    ["weights/update", { model: "/m" }],
    ["weights/check", { set: "current", prompts: [[1]], max_tokens: 1 }],
  ];
  for (const [error, status, code] of errors) {
    server.weights.refuses = error;
    for (const [verb, body] of verbs) {
      const response = await server.post(`/admin/${verb}`, body);
      const { error: shown } = await response.json();
      assertEquals([response.status, shown.code], [status, code], verb);
      assertEquals(shown.message.includes("Cannot take"), error !== unexpected);
      assert(!shown.message.includes("secret"));
    }
  }
  assertEquals(seen, verbs.map(() => unexpected));
  const answer = await (await server.post(COMPLETIONS, { prompt: "a" })).json();
  assertEquals(answer.weight_version, "fake");
});

Deno.test("fields that are wrong are named, and no verb runs", async () => {
  await using server = await updatableServer({}, { maxBodyBytes: 1000 });
  const check = { set: "current", prompts: [[1]], max_tokens: 1 };
  const cases: readonly [path: string, body: unknown, param: string | null][] = [
    ["pause", {}, "mode"],
    ["pause", { mode: "stop" }, "mode"],
    ["pause", { mode: "hold", for: 5 }, "for"],
    ["resume", { mode: "hold" }, "mode"],
    ["resume", [], null],
    ["weights/activate", { version: "two" }, "version"],
    ["weights/prepare", {}, "model"],
    ["weights/prepare", { model: "" }, "model"],
    ["weights/prepare", { model: "/m", path: "/m" }, "path"],
    ["weights/update", { model: "/m", sha256: "abc" }, "sha256"],
    ["weights/update", { model: "/m", version: "two words" }, "version"],
    ["weights/update", { model: "/m", version: "naïve" }, "version"],
    ["weights/update", { model: "/m", version: "" }, "version"],
    ["weights/check", { ...check, set: "previous" }, "set"],
    ["weights/check", { ...check, prompts: [] }, "prompts"],
    ["weights/check", { ...check, prompts: [[]] }, "prompts[0]"],
    ["weights/check", { ...check, prompts: [[1, -1]] }, "prompts[0][1]"],
    ["weights/check", { ...check, prompts: [[0.5]] }, "prompts[0][0]"],
    ["weights/check", { ...check, prompts: ["text"] }, "prompts[0]"],
    ["weights/check", { ...check, max_tokens: 0 }, "max_tokens"],
    ["weights/check", { ...check, max_tokens: 2 ** 40 }, "max_tokens"],
  ];
  for (const [path, body, param] of cases) {
    const response = await server.post(`/admin/${path}`, body);
    const { error } = await response.json();
    assertEquals([response.status, error.param], [400, param], JSON.stringify([path, body]));
  }
  const large = await server.post("/admin/weights/update", { model: "x".repeat(1000) });
  assertEquals([large.status, (await large.json()).error.code], [413, "body_too_large"]);
  const broken = await postJson(`${server.url}/admin/pause`, {}, { body: "{" });
  assertEquals([broken.status, (await broken.json()).error.code], [400, "invalid_json"]);
  const method = await fetch(`${server.url}/admin/pause`);
  assertEquals([method.status, method.headers.get("allow")], [405, "POST"]);
  await method.body?.cancel();
  assertEquals(server.weights.calls, []);
});

Deno.test("a stream that runs through an activate keeps its version; the next request has the new one", async () => {
  for (
    const [path, body] of [
      [COMPLETIONS, { prompt: "a" }],
      [CHAT, { messages: [{ role: "user", content: "a" }] }],
    ] as const
  ) {
    const activated = Promise.withResolvers<void>();
    await using server = await updatableServer({
      says: "abcd",
      before: (chunk) => chunk === 2 ? activated.promise : Promise.resolve(),
    });
    const stream = await server.post(path, {
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    assertEquals(stream.headers.get("x-weft-weight-version"), "fake");
    await (await server.post("/admin/weights/prepare", { model: "/m", version: "two" })).text();
    await (await server.post("/admin/weights/activate")).text();
    activated.resolve();
    const events = eventsOf(await stream.text());
    assertEquals(events.pop(), "[DONE]");
    const bodies: Json[] = events.map((event) => JSON.parse(event));
    assert(bodies.length >= 6);
    for (const chunk of bodies) assertEquals(chunk.weight_version, "fake");
    const prints = new Set(bodies.map((chunk) => chunk.system_fingerprint));
    assertEquals(prints.size, 1);
    const next = await server.post(path, body);
    assertEquals(next.headers.get("x-weft-weight-version"), "two");
    const answer = await next.json();
    assertEquals(answer.weight_version, "two");
    assert(!prints.has(answer.system_fingerprint), "the fingerprint names the weights too");
    await (await server.post("/admin/weights/revert")).text();
    const back = await (await server.post(path, body)).json();
    assert(prints.has(back.system_fingerprint));
  }
});

Deno.test("health and metrics name the version that new requests get", async () => {
  await using server = await updatableServer();
  const named = async (): Promise<[string, string[]]> => {
    const { weight_version } = await (await fetch(`${server.url}/health`)).json();
    const text = await (await fetch(`${server.url}/metrics`)).text();
    return [weight_version, text.split("\n").filter((line) => /^weft:weight_version\{/.test(line))];
  };
  const line = (version: string) => `weft:weight_version{model_name="fake",version="${version}"} 1`;
  assertEquals(await named(), ["fake", [line("fake")]]);
  await (await server.post("/admin/weights/update", { model: "/m", version: 'a"b\\' })).text();
  assertEquals(await named(), ['a"b\\', [line('a\\"b\\\\')]]);
});

Deno.test("an answer whose choices come from different weights is never given", async () => {
  const second = Promise.withResolvers<void>();
  const replica = new FakeReplica({ says: "abc" });
  const generate = replica.generate.bind(replica);
  let begun = 0;
  replica.generate = (request) => {
    const chunks = generate(request);
    if (begun++ % 2 === 0) return chunks;
    return (async function* () {
      await second.promise;
      yield* chunks;
    })();
  };
  await using server = await testServer({}, { replica });
  const body = { prompt: [[1], [2]] };
  const stream = await postJson(server.url + COMPLETIONS, { ...body, stream: true });
  const whole = postJson(server.url + COMPLETIONS, body);
  await eventually(() => replica.requests.length === 4);
  replica.weightVersion = "two";
  second.resolve();
  const response = await whole;
  assertEquals([response.status, (await response.json()).error.code], [503, "weights_changed"]);
  const events: Json[] = eventsOf(await stream.text()).map((event) => JSON.parse(event));
  const { error } = events.pop();
  assertEquals(error.code, "weights_changed");
  assertMatch(error.message, /different weights: fake and two$/);
  assertEquals([...new Set(events.map((event) => event.weight_version))], ["fake"]);
  assertEquals(server.gate.active, 0);
});

Deno.test("a router passes the version on, of whole answers and of streams", async () => {
  await using server = await updatableServer();
  using router = new RouterServer({ probeMs: 60_000 });
  await using listener = listenRouter({ router, gate: new RequestGate(), port: 0 });
  await router.join(server.url);
  server.replica.weightVersion = "two";
  for (const stream of [false, true]) {
    const response = await postJson(listener.url + COMPLETIONS, { prompt: "a", stream });
    assertEquals(response.headers.get("x-weft-weight-version"), "two");
    assertStringIncludes(await response.text(), '"weight_version":"two"');
  }
});

Deno.test("a router brings each key of a replica to the routes that it is for", async () => {
  await using server = await updatableServer({}, { apiKey: "api", adminApiKey: "admin" });
  using router = new RouterServer({ probeMs: 60_000 });
  await using listener = listenRouter({ router, gate: new RequestGate(), port: 0 });
  const joined = await postJson(`${listener.url}/admin/replicas`, {
    url: server.url,
    api_key: "api",
    admin_api_key: "admin",
  });
  assertEquals([joined.status, (await joined.json()).replicas[0].serves], [201, true]);
  const answer = await postJson(listener.url + COMPLETIONS, { prompt: "a" });
  assertEquals((await answer.json()).choices[0].text, "Hi ☕!");
  const versions = await Promise.all(
    [{ apiKey: "api", adminApiKey: "admin" }, { apiKey: "admin" }].map(async (keys) => {
      const replica = new HttpUpdatableReplica("r", new HttpReplica(server.url, keys));
      return (await replica.weights()).current.version;
    }),
  );
  assertEquals(versions, ["fake", "fake"]);
});

Deno.test("without updatable weights there are no admin routes", async () => {
  await using server = await testServer();
  for (const path of ["/admin/weights", "/admin/pause"]) {
    const response = await postJson(server.url + path, {});
    assertEquals([response.status, (await response.json()).error.code], [404, "route_not_found"]);
  }
  const health = await (await fetch(`${server.url}/health`)).json();
  assertEquals(health.weight_version, null);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assert(!metrics.includes("weft:weight_version"));
});

Deno.test("the OpenAPI document describes the admin routes", async () => {
  await using server = await updatableServer();
  const { paths, components } = await (await fetch(`${server.url}/openapi.json`)).json();
  assertEquals(Object.keys(paths).filter((path) => path.startsWith("/admin")).sort(), [
    "/admin/pause",
    "/admin/resume",
    "/admin/weights",
    "/admin/weights/activate",
    "/admin/weights/check",
    "/admin/weights/prepare",
    "/admin/weights/release",
    "/admin/weights/revert",
    "/admin/weights/update",
  ]);
  const { PauseRequest, WeightsFolder, WeightsStatus } = components.schemas;
  assertEquals(PauseRequest.properties.mode.enum, ["finish", "abort", "hold"]);
  assertEquals(WeightsFolder.required, ["model"]);
  assertEquals(WeightsStatus.required, ["paused", "current", "prepared", "previous"]);
  const { responses } = paths["/admin/weights/update"].post;
  assertEquals(Object.keys(responses), ["200", "400", "409", "413", "415", "500", "503", "507"]);
});
