import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import type { RoutedRequest } from "../../../src/routing/balancing_policy.ts";
import { NoReplicaError } from "../../../src/routing/errors.ts";
import type { Lease } from "../../../src/routing/lease.ts";
import { ReplicaPool } from "../../../src/routing/replica_pool.ts";
import { ConnectionSplit, RequestSplit } from "../../../src/routing/traffic_split.ts";

function request(connection: string | null = null): RoutedRequest {
  return { tokens: 1, stream: true, session: null, prefix: [], connection };
}

function poolOf(count: number, maxConcurrency?: number): ReplicaPool<null> {
  const pool = new ReplicaPool<null>({ slowStartMs: 0, now: () => 0 });
  for (let i = 0; i < count; i++) pool.add(`r${i}`, null, { maxConcurrency });
  return pool;
}

/** Who gets a request that ends at once. */
function asked(pool: ReplicaPool<null>, connection: string | null = null): string {
  const lease = pool.tryAcquire(request(connection))!;
  lease.end("served");
  return lease.id;
}

Deno.test("while a pool is held requests wait, whoever dies; their deadlines run on", async () => {
  const pool = poolOf(2);
  const [first, second] = [pool.hold(), pool.hold()];
  const waiting = pool.acquire(request());
  const late = pool.acquire(request(), { deadlineMs: 1 });
  assertEquals((await assertRejects(() => late, NoReplicaError)).reason, "deadline");
  pool.setDown("r0", "killed");
  pool.setDown("r1", "killed");
  assertEquals([pool.queued, pool.tryAcquire(request())], [1, null]);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  pool.setUp("r1");
  assertEquals(pool.queued, 1, "it is still held once");
  second[Symbol.dispose]();
  assertEquals((await waiting).id, "r1");
  const hold = pool.hold();
  const hopeless = pool.acquire(request());
  pool.setDown("r1", "killed");
  hold[Symbol.dispose]();
  assertEquals((await assertRejects(() => hopeless, NoReplicaError)).reason, "none");
});

Deno.test("requests wait for a replica that returns, and for no other", async () => {
  const pool = poolOf(2);
  pool.drain("r0", { returns: true });
  pool.setDown("r1", "killed");
  const waiting = pool.acquire(request());
  assertEquals(pool.queued, 1);
  pool.resume("r0");
  assertEquals((await waiting).id, "r0");
  pool.drain("r0");
  await assertRejects(() => pool.acquire(request()), NoReplicaError);
});

Deno.test("new weights get a share of the requests; what they fail or have no room for goes to the others", () => {
  const pool = poolOf(4, 1);
  pool.divide(new RequestSplit(new Set(["r3"]), 0.2));
  const ids = Array.from({ length: 100 }, () => asked(pool));
  assertEquals(ids.filter((id) => id === "r3").length, 20);
  assertEquals(ids.slice(0, 6).filter((id) => id === "r3").length, 2, "evenly");

  pool.divide(new RequestSplit(new Set(["r3"]), 1));
  assert(pool.tryAcquire(request(), new Set(["r3"]))!.id !== "r3");
  const places = Array.from({ length: 3 }, () => pool.tryAcquire(request())!.id);
  assertEquals([places[0], places.includes("r3", 1)], ["r3", false]);
  const full = poolOf(2, 1);
  full.divide(new RequestSplit(new Set(["r1"]), 0));
  assertEquals([1, 2].map(() => full.tryAcquire(request())?.id), ["r0", undefined]);
  full.setDown("r0", "killed");
  assertEquals(asked(full), "r1", "nobody else serves");
});

Deno.test("one who waits for one side keeps nobody from the other", async () => {
  const pool = poolOf(2, 1);
  const fresh = new Set<string>();
  pool.divide(new ConnectionSplit(fresh));
  const leases = [1, 2].map(() => pool.tryAcquire(request())!);
  fresh.add("r1");
  const connections = Array.from({ length: 20 }, (_, i) => `client ${i}`);
  const got: string[] = [];
  for (const connection of connections) {
    pool.acquire(request(connection)).then((lease: Lease<null>) => {
      got.push(lease.id);
      lease.end("served");
    });
  }
  leases[1].end("served");
  for (let i = 0; i < 100; i++) await Promise.resolve();
  assert(got.length > 0 && got.every((id) => id === "r1"));
  assertEquals(pool.queued, 20 - got.length);
  leases[0].end("served");
  for (let i = 0; i < 100; i++) await Promise.resolve();
  assertEquals(got.length, 20);
});

Deno.test("a second attempt beside the first stays on the connection's side, one after a failure need not", () => {
  const pool = poolOf(3);
  pool.divide(new ConnectionSplit(new Set(["r0", "r1"])));
  const moved = Array.from({ length: 50 }, (_, i) => `client ${i}`).find((connection) =>
    asked(pool, connection) !== "r2"
  )!;
  const fresh = new Set(["r0", "r1"]);
  assertEquals(pool.tryAcquireOther(request(moved), new Set(["r0"]))?.id, "r1");
  assertEquals(pool.tryAcquireOther(request(moved), fresh), null);
  assertEquals(pool.tryAcquire(request(moved), fresh)?.id, "r2");
});

Deno.test("on a connection versions never go back, and both sides have their part of the work", () => {
  const step = fc.record({
    action: fc.constantFrom("ask", "ask", "ask", "retry", "update", "down", "up"),
    index: fc.nat(9),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const pool = poolOf(5);
      const fresh = new Set<string>();
      pool.divide(new ConnectionSplit(fresh));
      const moved = new Set<string>();
      for (const { action, index } of steps) {
        const { id } = pool.members[index % 5];
        const connection = `client ${index}`;
        if (action === "update") fresh.add(id);
        else if (action === "down") {
          // Where no new one is left, an old one is better than none.
          const left = pool.members.some((m) => m.serves && m.id !== id && fresh.has(m.id));
          if (!fresh.has(id) || left) pool.setDown(id, "killed");
        } else if (action === "up") pool.setUp(id);
        else if (pool.serves) {
          const avoid = new Set(action === "retry" ? [id] : []);
          const lease = pool.tryAcquire(request(connection), avoid)!;
          lease.end("served");
          const alone = avoid.has(lease.id); // nobody else serves
          assert(alone || !moved.has(connection) || action === "retry" || fresh.has(lease.id));
          if (fresh.has(lease.id)) moved.add(connection);
        }
      }
    }),
    { numRuns: 300 },
  );
  const pool = poolOf(4);
  pool.divide(new ConnectionSplit(new Set(["r0"])));
  const all = Array.from({ length: 400 }, (_, i) => asked(pool, `10.0.0.1 ${40_000 + i}`));
  const share = all.filter((id) => id === "r0").length / 400;
  assert(share > 0.15 && share < 0.35, `a quarter of the connections: ${share}`);
});
