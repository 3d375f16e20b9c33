/** A replica of a router that moves to another address under its name. */
import { assertEquals } from "@std/assert";
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
