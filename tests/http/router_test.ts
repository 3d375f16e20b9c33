import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { RequestRecord } from "../../src/serving/mod.ts";
import { RouterServer } from "../../src/serving/router/router_server.ts";
import { FakeUpstream } from "./fake_upstream.ts";
import { complete, eventsOf, routerOver } from "./router_fixture.ts";

Deno.test("answers pass as they are, with the name of who gave them", async () => {
  await using router = await routerOver(["serves", "serves"]);
  const names = new Set<string>();
  for (let i = 0; i < 4; i++) {
    const response = await router.post();
    assertEquals(response.status, 200);
    const replica = router.upstreams.find(({ id }) =>
      id === response.headers.get("x-weft-replica")
    );
    const { text } = await response.json();
    assertEquals(router.upstreams[Number(text.slice(1))], replica);
    names.add(text);
  }
  assertEquals(names.size, 2, "both had work");
  const stream = await router.post({ stream: true });
  assertMatch(stream.headers.get("content-type")!, /^text\/event-stream/);
  const events = eventsOf(await stream.text());
  assert(["r0", "r1"].some((name) => JSON.stringify(complete(name)) === JSON.stringify(events)));
  const models = await fetch(`${router.url}/v1/models`);
  assertEquals(await models.json(), { data: [{ id: "fake" }] });
  const unknown = await fetch(`${router.url}/elsewhere`);
  assertEquals([unknown.status, (await unknown.json()).error.code], [404, "route_not_found"]);
});

Deno.test("a request keeps its name on the way to a replica and back, and is told at its end", async () => {
  const records: RequestRecord[] = [];
  await using router = await routerOver(["serves"], {
    onRequest: (record) => records.push(record),
  });
  for (const given of ["mine", null]) {
    const headers = new Headers(given === null ? {} : { "x-request-id": given });
    const response = await router.post({ stream: true }, { headers });
    await response.text();
    const id = response.headers.get("x-request-id")!;
    assertMatch(id, given === "mine" ? /^mine$/ : /^[0-9a-f]{32}$/);
    assertEquals(router.upstreams[0].requestIds.at(-1), id);
    assertEquals(records.at(-1)?.requestId, id);
    assertEquals([records.at(-1)?.status, records.at(-1)?.path], [200, "/v1/completions"]);
  }
});

Deno.test("a router is ready while one of its replicas takes requests", async () => {
  await using router = await routerOver(["serves"]);
  const ready = async () => {
    const response = await fetch(`${router.url}/ready`);
    return [response.status, (await response.json()).status];
  };
  assertEquals(await ready(), [200, "ready"]);
  const [{ id }] = router.router.replicas;
  router.router.suspend(id, "it is away");
  assertEquals(await ready(), [503, "dead"]);
  const { version } = await (await fetch(`${router.url}/version`)).json();
  assertMatch(version, /^\d+\.\d+\.\d+/);
});

for (
  const behaviour of [
    "says 500",
    "says 429",
    "resets at once",
    "resets before the last byte",
  ] as const
) {
  Deno.test(`a replica that ${behaviour} is replaced, and soon asked no more`, async () => {
    await using router = await routerOver([behaviour, "serves"]);
    for (let i = 0; i < 12; i++) assertEquals((await (await router.post()).json()).text, "r1");
    assertEquals(router.upstreams[0].bodies.length, 3);
    assertEquals(router.router.replicas[0].state, "ejected");
    const health = await (await fetch(`${router.url}/health`)).json();
    assertEquals(health.status, "degraded");
  });
}

Deno.test("what is the client's fault is passed on, and no replica's failure", async () => {
  await using router = await routerOver(["says 400", "serves"], {
    policy: { name: "first", select: (candidates) => candidates[0] },
  });
  const response = await router.post();
  assertEquals([response.status, await response.json()], [400, { error: { message: "r0" } }]);
  assertEquals(router.router.replicas.map(({ failed }) => failed), [0, 0]);
});

Deno.test("what a replica has no room for waits until it has, and is no failure of it", async () => {
  await using router = await routerOver(["serves"]);
  const [upstream] = router.upstreams;
  Object.assign(upstream, { room: 2, delayMs: 20 });
  const answers = await Promise.all(Array.from({ length: 12 }, () => router.post()));
  assertEquals(answers.map(({ status }) => status), answers.map(() => 200));
  for (const answer of answers) await answer.body?.cancel();
  const [{ state, failed, ejections }] = router.router.replicas;
  assertEquals([state, failed, ejections], ["healthy", 0, 0]);
  assert(upstream.bodies.length > 12, "some had been refused");
});

Deno.test("when every replica refuses, the client sees what the last one said", async () => {
  await using router = await routerOver(["says 429", "says 429"]);
  const response = await router.post();
  assertEquals([response.status, response.headers.get("retry-after")], [429, "7"]);
  assertMatch((await response.json()).error.message, /^r[01]$/);
});

Deno.test("retries end with the budget", async () => {
  await using router = await routerOver(["says 500", "says 500", "serves"], {
    policy: { name: "first", select: (candidates) => candidates[0] },
  });
  let refused = 0;
  for (let i = 0; i < 10; i++) {
    const response = await router.post();
    if (response.status === 500) refused++;
    await response.body?.cancel();
  }
  const sent = router.upstreams.slice(0, 2).reduce((sum, { bodies }) => sum + bodies.length, 0);
  assert(sent <= 11, `ejected after three failures each, or out of budget: ${sent} tries`);
  assertEquals(refused, 0, "the reserve covers a few failures");
});

Deno.test("a stream that breaks off ends with an error event, and is never sent again", async () => {
  await using router = await routerOver(["resets after the first byte", "serves"], {
    policy: { name: "first", select: (candidates) => candidates[0] },
  });
  const broken = eventsOf(await (await router.post({ stream: true })).text());
  assertEquals(broken[0], `{"text":"r0 0"}`);
  assertEquals(broken.length, 2);
  assertEquals(JSON.parse(broken[1]).error.code, "replica_lost");
  assertEquals(router.upstreams.map(({ bodies }) => bodies.length), [1, 0]);
});

Deno.test("a replica that is silent loses its requests to others", async () => {
  await using router = await routerOver(["is silent", "serves"], {
    deadlines: { firstByteMs: 50, wholeMs: 50, stallMs: 50 },
    policy: { name: "first", select: (candidates) => candidates[0] },
  });
  assertEquals(eventsOf(await (await router.post({ stream: true })).text()), complete("r1"));
  assertEquals((await (await router.post()).json()).text, "r1");
  router.upstreams[0].behaviour = "is silent after the first byte";
  const events = eventsOf(await (await router.post({ stream: true })).text());
  assertEquals(JSON.parse(events[1]).error.code, "replica_lost");
  assertMatch(JSON.parse(events[1]).error.message, /nothing came for 50 ms/);
});

Deno.test("a probe that fails takes the replica's requests back; one that works lets it in again", async () => {
  await using router = await routerOver(["serves", "serves"], {
    probeMs: 40,
    policy: { name: "first", select: (candidates) => candidates[0] },
  });
  const [first] = router.upstreams;
  first.behaviour = "is silent";
  first.probes = "is silent";
  const response = await router.post();
  assertEquals((await response.json()).text, "r1", "taken back without a deadline of its own");
  assertEquals(router.router.replicas[0].state, "down");
  first.behaviour = "serves";
  first.probes = "serves";
  while (router.router.replicas[0].state !== "healthy") {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assertEquals((await (await router.post()).json()).text, "r0");
});

Deno.test("what is taken back goes to who has nothing to do, whatever the policy likes best", async () => {
  await using router = await routerOver(["is silent", "serves"], {
    policy: {
      name: "by user",
      select: (loads, { session }) =>
        loads.find(({ id }) => id === ids[Number(session)]) ?? loads[0],
    },
  });
  const ids = router.upstreams.map(({ id }) => id);
  const gone = new AbortController();
  const sent = async (count: number): Promise<void> => {
    while (router.upstreams[0].bodies.length < count) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  const stuck = router.post({ stream: true, user: "0" }, { signal: gone.signal });
  await sent(1);
  const taken = router.post({ stream: true, user: "0" });
  await sent(2);
  await (await router.post({ user: "1" })).body?.cancel();
  const answered = await Promise.race([taken.then(() => "taken"), stuck.then(() => "stuck")]);
  assertEquals(answered, "taken");
  assertEquals(eventsOf(await (await taken).text()), complete("r1"));
  gone.abort();
  await stuck.catch(() => {});
});

Deno.test("when all are dead the answer is a 503 at once", async () => {
  await using router = await routerOver(["resets at once", "resets at once"]);
  const statuses: number[] = [];
  for (let i = 0; i < 6; i++) {
    const response = await router.post();
    statuses.push(response.status);
    await response.body?.cancel();
  }
  assertEquals(statuses.at(-1), 503);
  const last = await router.post();
  assertEquals((await last.json()).error.code, "no_replica");
  assertEquals(last.headers.get("retry-after"), "1");
  const health = await fetch(`${router.url}/health`);
  assertEquals([health.status, (await health.json()).status], [503, "dead"]);
});

Deno.test("requests wait for a replica with room, in their order, and a client that goes is forgotten", async () => {
  await using router = await routerOver(["serves"], { maxConcurrency: 1 });
  const order: number[] = [];
  const gone = new AbortController();
  const answers = [0, 1, 2, 3].map(async (i) => {
    await new Promise((resolve) => setTimeout(resolve, 4 * i));
    const init = i === 2 ? { signal: gone.signal } : {};
    const text = await (await router.post({ stream: true, user: `${i}` }, init)).text();
    order.push(i);
    return text;
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  gone.abort();
  const results = await Promise.allSettled(answers);
  assertEquals(results.map(({ status }) => status === "fulfilled"), [true, true, false, true]);
  assertEquals(order, [0, 1, 3]);
  assert(!router.upstreams[0].bodies.some((body) => body.includes(`"user":"2"`)));
});

Deno.test("a client that goes cancels what the replica does for it", async () => {
  await using router = await routerOver(["is silent"]);
  const gone = new AbortController();
  const answer = router.post({}, { signal: gone.signal });
  while (router.upstreams[0].bodies.length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  gone.abort();
  await answer.catch(() => {});
  while (router.upstreams[0].aborted === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(router.router.replicas[0].failed, 0);
  const counted = async () => await (await fetch(`${router.url}/metrics`)).text();
  while (!/router_answers_total{/.test(await counted()));
  assertMatch(await counted(), /weft:router_answers_total{status="499"} 1\n/);
  assert(!(await counted()).includes('status="503"'), "a client that goes is no failure");
});

Deno.test("replicas join, drain, resume, change weight and leave while the router serves", async () => {
  await using router = await routerOver(["serves"]);
  await using other = new FakeUpstream("new");
  const admin = (method: string, path: string, body?: object): Promise<Response> =>
    fetch(`${router.url}/admin/replicas${path}`, {
      method,
      body: body && JSON.stringify(body),
      headers: { "content-type": "application/json" },
    });
  const joined = await admin("POST", "", { url: other.url, weight: 2 });
  assertEquals(joined.status, 201);
  const { id, replicas } = await joined.json();
  assertEquals(replicas.map((r: { weight: number; url: string }) => [r.url, r.weight]), [
    [router.upstreams[0].url, 1],
    [other.url, 2],
  ]);
  const [first] = router.upstreams;
  await (await admin("POST", `/${first.id}/drain`)).body?.cancel();
  for (let i = 0; i < 3; i++) assertEquals((await (await router.post()).json()).text, "new");
  await (await admin("POST", `/${first.id}/resume`)).body?.cancel();
  const changed = await (await admin("PATCH", `/${id}`, { weight: 5 })).json();
  assertEquals(changed.replicas[1].weight, 5);
  const left = await (await admin("DELETE", `/${id}`)).json();
  assertEquals(left.replicas.length, 1);
  for (let i = 0; i < 3; i++) assertEquals((await (await router.post()).json()).text, "r0");
  for (
    const [method, path, body, status] of [
      ["POST", "", { url: first.url }, 400],
      ["POST", "", { url: "ftp://x" }, 400],
      ["POST", "", { url: other.url, weigth: 2 }, 400],
      ["DELETE", "/nobody", undefined, 404],
    ] as const
  ) {
    const response = await admin(method, path, body);
    assertEquals(response.status, status);
    await response.body?.cancel();
  }
});

Deno.test("a replica that two people take out at once leaves once", async () => {
  await using fixture = await routerOver(["serves", "serves"]);
  const { router, upstreams: [first, second] } = fixture;
  const leave = (): Promise<Response> =>
    fetch(`${fixture.url}/admin/replicas/${first.id}`, {
      method: "DELETE",
      headers: { "content-type": "application/json" },
    });
  const stream = await fixture.post({ stream: true });
  const leaving = [router.leave(first.id, 5000), router.leave(first.id, 5000)];
  await stream.body?.cancel();
  await Promise.all(leaving);
  assertEquals(router.replicas.map(({ id }) => id), [second.id]);
  const gone = await leave();
  assertEquals([gone.status, (await gone.json()).error.code], [404, "replica_not_found"]);
});

Deno.test("a drain lets streams end, refuses new requests, and cuts off what is too slow", async () => {
  await using router = await routerOver(["serves", "is silent after the first byte"], {
    policy: { name: "by user", select: (loads, { session }) => loads[Number(session)] },
  });
  const [whole, stuck] = await Promise.all(
    ["0", "1"].map((user) => router.post({ stream: true, user })),
  );
  const stopped = router.shutdown(100);
  const refused = await router.post().catch(() => null);
  if (refused !== null) assertEquals((await refused.json()).error.code, "draining");
  assertEquals(eventsOf(await whole.text()), complete("r0"));
  const events = eventsOf(await stuck.text());
  assertEquals(JSON.parse(events.at(-1)!).error.code, "replica_lost");
  await stopped;
});

Deno.test("keys: the router asks for its own and brings the replica's", async () => {
  const upstream = new FakeUpstream("r");
  const router = new RouterServer({ apiKey: "outer", probeMs: 60_000 });
  await router.join(upstream.url, { apiKey: "inner" });
  try {
    const send = (key?: string): Promise<Response> =>
      Promise.resolve(router.fetch(
        new Request("http://router/v1/completions", {
          method: "POST",
          body: "{}",
          headers: {
            "content-type": "application/json",
            ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
          },
        }),
      ));
    assertEquals((await send()).status, 401);
    assertEquals((await send("inner")).status, 401);
    const response = await send("outer");
    assertEquals(response.status, 200);
    await response.body?.cancel();
    assertEquals(upstream.keys, ["Bearer inner"]);
    for (const path of ["/health", "/metrics", "/admin/replicas"]) {
      assertEquals((await router.fetch(new Request(`http://router${path}`))).status, 401);
    }
  } finally {
    router[Symbol.dispose]();
    await upstream[Symbol.asyncDispose]();
  }
});

for (
  const path of [
    "/v1/../admin/weights/update",
    "/v1/%2e%2e/admin/weights/update",
    "/v1/models/.%2E/../admin/replicas",
    "/v1/..\\admin/weights/update",
    "/v1/..#/",
  ]
) {
  Deno.test(`what is no path of the API when it is read reaches no replica, with its key: ${path}`, async () => {
    await using router = await routerOver(["serves"], { apiKey: "client", adminApiKey: "admin" });
    // Clients that parse addresses never send such a path: others do.
    const connection = await Deno.connect({ port: Number(new URL(router.url).port) });
    const request = `POST ${path} HTTP/1.1\r\nhost: router\r\nauthorization: Bearer client\r\n` +
      "content-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    await connection.write(new TextEncoder().encode(request));
    const answer = await new Response(connection.readable).text();
    assertMatch(answer, /^HTTP\/1.1 40[04] .*"(?:invalid_path|route_not_found)"/s);
    assertEquals(router.upstreams[0].bodies, []);
  });
}

Deno.test("an address with a name or a password is refused, and not told", async () => {
  using router = new RouterServer({ probeMs: 60_000 });
  for (const who of ["name", "name:secret", ":secret"]) {
    const error = await assertRejects(() => router.join(`http://${who}@127.0.0.1:9`), RangeError);
    assertMatch(error.message, /only host, port and path may be named: http:\/\/127\.0\.0\.1:9\/$/);
  }
  assertEquals(router.replicas, []);
});

Deno.test("metrics name the replicas", async () => {
  await using router = await routerOver(["serves", "resets at once"]);
  for (let i = 0; i < 4; i++) await (await router.post()).body?.cancel();
  const text = await (await fetch(`${router.url}/metrics`)).text();
  assertMatch(
    text,
    new RegExp(`weft:replica_requests_total{replica="${router.upstreams[0].id}"} 4`),
  );
  assertMatch(
    text,
    new RegExp(`weft:replica_failures_total{replica="${router.upstreams[1].id}"} 3`),
  );
  assertMatch(text, /weft:router_answers_total{status="200"} 4/);
  assertMatch(text, /weft:router_first_byte_seconds_count{replica=/);
});
