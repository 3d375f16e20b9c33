/** What replicas may do to a router, and what its clients must not see of that. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { BalancingPolicy } from "../../src/routing/balancing_policy.ts";
import { blackHole } from "./fake_upstream.ts";
import { complete, eventsOf, type RouterFixture, routerOver } from "./router_fixture.ts";
import { eventually, metric, metrics } from "./serve_process.ts";

/** The first candidate, but the second for the user "second" where there is one. */
const BY_USER: BalancingPolicy = {
  name: "by user",
  select: (loads, { session }) => session === "second" && loads.length > 1 ? loads[1] : loads[0],
};

/** Few requests tell what is slow, and 0.1 s of silence is long. */
const QUICK = { minRequests: 1, minReplicas: 2, marginMs: 20, silenceFloorMs: 100, intervalMs: 0 };

async function stream(router: RouterFixture, body: object = {}): Promise<string[]> {
  return eventsOf(await (await router.post({ stream: true, ...body })).text());
}

Deno.test("a replica that takes requests and says nothing is ejected long before their deadline", async () => {
  await using router = await routerOver(["serves", "serves"], {
    policy: BY_USER,
    outliers: QUICK,
  });
  const [first, second] = router.upstreams;
  assertEquals(await stream(router, { user: "second" }), complete("r1"));
  first.behaviour = "is silent";
  const whole = router.post();
  const streams = await Promise.all([1, 2, 3].map(() => stream(router)));
  assertEquals(streams, streams.map(() => complete("r1")));
  assertEquals((await (await whole).json()).text, "r1", "it is taken back as well");
  const [replica] = router.router.replicas;
  assertMatch(replica.ejection!, /^silent for \d+ ms with requests waiting$/);
  assertEquals([replica.state, replica.failed, replica.ejections], ["ejected", 0, 1]);
  await eventually(() => first.aborted === 4, { what: "its connections are closed" });
  assertEquals(second.aborted, 0);
  assertEquals(metric(await metrics(router.url), "weft:replica_ejections_total"), 1);
  assertEquals(metric(await metrics(router.url), "weft:router_retries_total"), 4);
});

Deno.test("a replica that cannot even be connected to loses its requests to others", async () => {
  await using router = await routerOver(["serves", "serves"], {
    policy: BY_USER,
    outliers: QUICK,
  });
  const [first] = router.upstreams;
  assertEquals(await stream(router, { user: "second" }), complete("r1"));
  await first[Symbol.asyncDispose]();
  using _hole = await blackHole(first.port);
  assertEquals(await stream(router), complete("r1"));
  assertEquals(router.router.replicas[0].state, "ejected");
});

Deno.test("a replica that begins far later than others is ejected", async () => {
  await using router = await routerOver(["serves", "serves", "serves"], {
    policy: { name: "by user", select: (loads, { session }) => loads[Number(session)] ?? loads[0] },
    outliers: { ...QUICK, silenceFloorMs: 60_000 },
  });
  router.upstreams[1].delayMs = 400;
  for (let turn = 0; router.router.replicas[1].ejections === 0; turn++) {
    assertEquals(await stream(router, { user: `${turn % 3}` }), complete(`r${turn % 3}`));
    assert(turn < 30, "it is noticed");
  }
  assertMatch(router.router.replicas[1].ejection!, /^answers begin after \d+ ms, others' after/);
});

Deno.test("a replica that fails and recovers again and again fails no request", async () => {
  await using router = await routerOver(["serves", "serves"], { policy: BY_USER, ejectionMs: 20 });
  const [first] = router.upstreams;
  const replica = () => router.router.replicas[0];
  for (const behaviour of ["resets at once", "says 500", "resets at once"] as const) {
    const { ejections } = replica();
    first.behaviour = behaviour;
    while (replica().ejections === ejections) {
      const [text, events] = await Promise.all([
        router.post().then((answer) => answer.json()),
        stream(router),
      ]);
      assertEquals([text.text, events], ["r1", complete("r1")]);
    }
    first.behaviour = "serves";
    for (let back = false; !back;) {
      const events = await stream(router);
      back = events[0].includes("r0");
      assertEquals(events, complete(back ? "r0" : "r1"));
    }
    assertEquals(replica().state, "healthy");
  }
});

Deno.test("hedging: the second replica answers for the first, whose connection is closed", async () => {
  await using router = await routerOver(["is silent", "serves"], {
    policy: BY_USER,
    hedgeAfterMs: 150,
  });
  const [first, second] = router.upstreams;
  assertEquals(await stream(router), complete("r1"));
  await eventually(() => first.aborted === 1, { what: "the first is given up" });
  assertEquals([first.bodies, second.bodies].map(({ length }) => length), [1, 1]);
  const [replica] = router.router.replicas;
  assertEquals([replica.active, replica.failed, replica.state], [0, 0, "healthy"]);
  first.behaviour = "is silent after the first byte";
  const gone = new AbortController();
  const begun = await router.post({ stream: true }, { signal: gone.signal });
  await new Promise((resolve) => setTimeout(resolve, 250));
  assertEquals(second.bodies.length, 1, "never after the first byte");
  gone.abort();
  await begun.text().catch(() => {});
  const text = await metrics(router.url);
  assertEquals(metric(text, "weft:router_hedges_total"), 1);
  assertEquals(metric(text, "weft:router_hedges_won_total"), 1);
});

Deno.test("a client that goes while its request is hedged ends both", async () => {
  await using router = await routerOver(["is silent", "is silent"], { hedgeAfterMs: 1 });
  const gone = new AbortController();
  const answer = router.post({ stream: true }, { signal: gone.signal });
  await eventually(() => router.upstreams.every(({ bodies }) => bodies.length === 1), {
    what: "both have it",
  });
  gone.abort();
  await answer.catch(() => {});
  await eventually(() => router.upstreams.every(({ aborted }) => aborted === 1), {
    what: "both are ended",
  });
});

Deno.test("a client that stops reading gives up its place at the replica", async () => {
  await using fixture = await routerOver(["serves"], { deadlines: { stallMs: 50 } });
  const { router } = fixture;
  const response = await router.fetch(
    new Request("http://router/v1/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: [1], stream: true }),
    }),
  );
  assertEquals([response.status, router.replicas[0].active], [200, 1]);
  await eventually(() => router.replicas[0].active === 0, {
    timeoutMs: 2000,
    what: "the place is given up",
  });
  await assertRejects(() => response.text(), Error, "the client has stopped reading");
  assertEquals(router.replicas.map(({ failed, state }) => [failed, state]), [[0, "healthy"]]);
});

Deno.test("bodies that are too large, too slow or cut off are refused, and let nobody wait", async () => {
  await using router = await routerOver(["serves"], {
    limits: { maxBodyBytes: 100, bodyTimeoutMs: 30 },
  });
  const { port } = new URL(router.url);
  const send = async (head: string, body: string): Promise<string> => {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
    const text = `POST /v1/completions HTTP/1.1\r\nhost: x\r\n${head}\r\n\r\n${body}`;
    await connection.write(new TextEncoder().encode(text));
    const bytes = new Uint8Array(4096);
    const count = await connection.read(bytes);
    return new TextDecoder().decode(bytes.subarray(0, count ?? 0));
  };
  assertMatch(await send("content-length: 101", ""), /^HTTP\/1.1 413 .*body_too_large/s);
  assertMatch(await send("content-length: 99", "{"), /^HTTP\/1.1 408 .*body_timeout/s);
  const chunked = "transfer-encoding: chunked";
  assertMatch(await send(chunked, "1\r\n{\r\n"), /^HTTP\/1.1 408 .*body_timeout/s);
  assertMatch(
    await send(chunked, `65\r\n${"x".repeat(101)}\r\n`),
    /^HTTP\/1.1 413 .*body_too_large/s,
  );
  assertMatch(await send("content-length: 2", "{}"), /^HTTP\/1.1 200 /);
  assertMatch(await send(chunked, "2\r\n{}\r\n0\r\n\r\n"), /^HTTP\/1.1 200 /);
  assertEquals(router.upstreams[0].bodies, ["{}", "{}"]);
});
