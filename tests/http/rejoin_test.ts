/** A replica of a router that moves to another address under its name. */
import { assertEquals, assertMatch } from "@std/assert";
import { RouterServer } from "../../src/serving/router/router_server.ts";
import { FakeUpstream } from "./fake_upstream.ts";

Deno.test("a replica that comes back elsewhere keeps its name, share and counts, and is up once probed", async () => {
  await using before = new FakeUpstream("before");
  await using after = new FakeUpstream("after");
  const changes: (string | null)[] = [];
  using router = new RouterServer({
    probeMs: 60_000,
    slowStartMs: 0,
    onChange: (_, reason) => changes.push(reason),
  });
  const send = async (): Promise<[number, string]> => {
    const response = await router.fetch(
      new Request("http://router/v1/completions", {
        method: "POST",
        body: "{}",
        headers: { "content-type": "application/json" },
      }),
    );
    const { text, error } = await response.json();
    return [response.status, text ?? error.code];
  };
  await router.rejoin(before.url, { id: "0", weight: 3 });
  assertEquals(await send(), [200, "before"]);

  before.behaviour = "resets at once";
  router.suspend("0", "its process has ended");
  assertEquals(await send(), [503, "no_replica"]);
  const down = router.replicas[0];
  assertEquals([down.state, down.reason], ["down", "its process has ended"]);

  await router.rejoin(after.url, { id: "0" });
  assertEquals(await send(), [200, "after"]);
  const { id, state, weight, sent } = router.replicas[0];
  assertEquals([id, state, weight, sent], ["0", "healthy", 3, 2]);
  assertEquals(changes, [null, null]);
  router.suspend("nobody", "it never was");
});

Deno.test("a replica that does not answer when it joins is down, and the reason is told at once", async () => {
  await using upstream = new FakeUpstream("broken");
  upstream.probes = "says 500";
  const changes: (string | null)[] = [];
  using router = new RouterServer({
    probeMs: 20,
    onChange: (_, reason) => changes.push(reason),
  });
  await router.join(upstream.url);
  assertEquals([router.replicas[0].state, changes.length], ["down", 1]);
  assertMatch(changes[0]!, /answering a probe .* with 500/);
  assertEquals(router.replicas[0].reason, changes[0]);
  upstream.probes = "serves";
  while (changes.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals([router.replicas[0].reason, changes[1]], [null, null]);
});
