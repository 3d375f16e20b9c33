import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { RoutedRequest } from "../../../src/routing/balancing_policy.ts";
import { NoReplicaError } from "../../../src/routing/errors.ts";
import type { Lease, LeaseOutcome } from "../../../src/routing/lease.ts";
import { ReplicaPool, type ReplicaPoolOptions } from "../../../src/routing/replica_pool.ts";
import { TestClock } from "./_clock.ts";

const REQUEST: RoutedRequest = { tokens: 5, stream: true, session: null, prefix: [] };

interface Fixture {
  readonly clock: TestClock;
  readonly pool: ReplicaPool<string>;
}

function poolOf(
  ids: readonly string[],
  options: ReplicaPoolOptions & { max?: number } = {},
): Fixture {
  const clock = new TestClock();
  const pool = new ReplicaPool<string>({ now: clock.now, openMs: 100, ...options });
  for (const id of ids) pool.add(id, `http://${id}`, { maxConcurrency: options.max });
  return { clock, pool };
}

function take(pool: ReplicaPool<string>): Lease<string> {
  const lease = pool.tryAcquire(REQUEST);
  assert(lease !== null);
  return lease;
}

const states = (pool: ReplicaPool<string>): string => pool.members.map((m) => m.state).join(" ");

Deno.test("places are counted until they end, once", () => {
  const { pool } = poolOf(["a", "b"], { max: 1 });
  const [first, second] = [take(pool), take(pool)];
  assertEquals([first.target, second.target], ["http://a", "http://b"]);
  assertEquals(pool.tryAcquire(REQUEST), null);
  first.end("served");
  first.end("failed");
  first[Symbol.dispose]();
  assertEquals(pool.members.map(({ active, sent, failed }) => [active, sent, failed]), [
    [0, 1, 0],
    [1, 1, 0],
  ]);
  assertEquals(take(pool).id, "a");
});

Deno.test("who waited longest gets the first place", async () => {
  const { pool } = poolOf(["a"], { max: 1, maxQueued: 2 });
  const lease = take(pool);
  const order: string[] = [];
  const waiting = ["one", "two"].map(async (name) => {
    const place = await pool.acquire(REQUEST);
    order.push(name);
    place.end("served");
  });
  assertEquals(pool.queued, 2);
  const full = await assertRejects(() => pool.acquire(REQUEST), NoReplicaError, "2 of 2");
  assertEquals(full.reason, "full");
  lease.end("served");
  await Promise.all(waiting);
  assertEquals(order, ["one", "two"]);
});

Deno.test("waiting ends with the deadline, the client or the last replica", async () => {
  const { pool } = poolOf(["a"], { max: 1 });
  const lease = take(pool);
  const late = await assertRejects(() => pool.acquire(REQUEST, { deadlineMs: 1 }), NoReplicaError);
  assertEquals(late.reason, "deadline");
  const client = new AbortController();
  const given = pool.acquire(REQUEST, { signal: client.signal });
  client.abort(new Error("gone"));
  await assertRejects(() => given, Error, "gone");
  const waiting = pool.acquire(REQUEST);
  pool.setDown("a", "its process was killed");
  const none = await assertRejects(
    () => waiting,
    NoReplicaError,
    "a is down (its process was killed)",
  );
  assertEquals(none.reason, "none");
  lease.end("failed");
  assertEquals(pool.queued, 0);
});

Deno.test("replicas that fail get nothing, then a probe, then slowly more", () => {
  const { pool, clock } = poolOf(["a", "b"], { failures: 2, slowStartMs: 1000 });
  for (let i = 0; i < 2; i++) pool.tryAcquire(REQUEST, new Set(["b"]))!.end("failed");
  assertEquals(states(pool), "ejected healthy");
  assertEquals([1, 2, 3].map(() => take(pool).id), ["b", "b", "b"]);
  clock.pass(100);
  assertEquals(states(pool), "probing healthy");
  const probe = take(pool);
  assertEquals(probe.id, "a");
  assertEquals([1, 2].map(() => take(pool).id), ["b", "b"], "one probe at a time");
  probe.end("served");
  assertEquals(states(pool), "starting healthy");
  clock.pass(500);
  const share = [1, 2, 3, 4, 5, 6].map(() => take(pool).id).filter((id) => id === "a").length;
  assert(share >= 2 && share < 6, `half its weight while it starts: ${share}`);
  clock.pass(500);
  assertEquals(states(pool), "healthy healthy");
});

Deno.test("a replica that comes back gets a share of the requests that grows to all of its own", () => {
  const { pool, clock } = poolOf(["a", "b"], { slowStartMs: 1000 });
  pool.setDown("a", "stopped");
  pool.setUp("a");
  const shares = [0, 250, 250, 500].map((milliseconds) => {
    clock.pass(milliseconds);
    const leases = Array.from({ length: 110 }, () => take(pool));
    const share = leases.filter(({ id }) => id === "a").length;
    for (const lease of leases) lease.end("cancelled");
    return share;
  });
  assertEquals(shares, [10, 22, 37, 55], "a tenth, a quarter, half and all of an equal share");
});

Deno.test("a replica that had no room for one more gets as many as it had then, and tries of more as time passes", () => {
  const { clock, pool } = poolOf(["a"]);
  const [first] = [take(pool), take(pool)];
  take(pool).end("full");
  assertEquals([pool.tryAcquire(REQUEST), pool.members[0].failed, states(pool)], [
    null,
    0,
    "healthy",
  ]);
  first.end("served");
  take(pool);
  assertEquals(pool.tryAcquire(REQUEST), null);
  clock.pass(1000);
  take(pool);
  assertEquals(pool.tryAcquire(REQUEST), null);
});

Deno.test("drained replicas end what they have and get no more", async () => {
  const { pool } = poolOf(["a", "b"]);
  const lease = pool.tryAcquire(REQUEST, new Set(["b"]))!;
  let drained = false;
  const drain = pool.drain("a").then(() => drained = true);
  assertEquals([1, 2].map(() => take(pool).id), ["b", "b"]);
  await Promise.resolve();
  assert(!drained);
  lease.end("served");
  await drain;
  pool.resume("a");
  assertEquals(take(pool).id, "a");
  pool.remove("b");
  assertEquals(pool.members.map(({ id }) => id), ["a"]);
  assertThrows(() => pool.drain("b"), RangeError, "b");
  assertThrows(() => pool.add("a", ""), RangeError, "a");
  assertThrows(() => pool.add("c", "", { weight: 0 }), RangeError, "weight");
});

Deno.test("a replica without work takes back what another has not started", () => {
  const { pool } = poolOf(["a", "b"]);
  const leases = Array.from({ length: 5 }, () => pool.tryAcquire(REQUEST, new Set(["b"]))!);
  const other = take(pool);
  assertEquals(other.id, "b");
  leases[0].received();
  other.end("served");
  assertEquals(leases.map(({ withdrawn }) => withdrawn), [
    false,
    false,
    false,
    false,
    true,
  ]);
  leases[4].end("cancelled");
  assertEquals(take(pool).id, "b");
});

Deno.test("nothing is taken back whose start nobody can see", () => {
  const { pool } = poolOf(["a", "b"]);
  const whole = { ...REQUEST, stream: false };
  const leases = Array.from({ length: 3 }, () => pool.tryAcquire(whole, new Set(["b"]))!);
  take(pool).end("served");
  assertEquals(leases.map(({ withdrawn }) => withdrawn), [false, false, false]);
});

Deno.test("whatever happens, no place is lost, doubled, or given by one that does not serve", async () => {
  const step = fc.record({
    action: fc.constantFrom(
      "acquire",
      "acquire",
      "acquire",
      "served",
      "failed",
      "cancelled",
      "down",
      "up",
      "drain",
      "resume",
      "wait",
      "remove",
      "add",
      "give up",
    ),
    index: fc.nat(7),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 1, max: 3 }),
      async (steps, max) => {
        const clock = new TestClock();
        const pool = new ReplicaPool<number>({
          now: clock.now,
          failures: 2,
          openMs: 10,
          maxQueued: 4,
          slowStartMs: 20,
        });
        const held = new Set<Lease<number>>();
        const clients: AbortController[] = [];
        let [asked, settled, next] = [0, 0, 0];
        const add = (): void => pool.add(String(next), next++, { maxConcurrency: max });
        for (let i = 0; i < 3; i++) add();
        const idAt = (index: number): string | undefined =>
          pool.members[index % Math.max(1, pool.members.length)]?.id;
        for (const { action, index } of steps) {
          const id = idAt(index);
          const lease = [...held][index % Math.max(1, held.size)];
          if (action === "acquire") {
            asked++;
            const client = new AbortController();
            clients.push(client);
            pool.acquire(REQUEST, { signal: client.signal, deadlineMs: 60_000 }).then((place) => {
              held.add(place);
              settled++;
            }, () => settled++);
          } else if (action === "give up") clients[index % Math.max(1, clients.length)]?.abort();
          else if (action === "wait") clock.pass(index * 5);
          else if (action === "add") add();
          else if (["served", "failed", "cancelled"].includes(action)) {
            if (lease !== undefined) {
              held.delete(lease);
              lease.end(action as LeaseOutcome);
            }
          } else if (id !== undefined) {
            if (action === "down") pool.setDown(id, "killed");
            else if (action === "up") pool.setUp(id);
            else if (action === "drain") pool.drain(id);
            else if (action === "resume") pool.resume(id);
            else pool.remove(id);
          }
          await new Promise((resolve) => setTimeout(resolve, 0));
          const members = pool.members;
          for (const { id, active } of members) {
            const mine = [...held].filter((place) => place.id === id).length;
            assertEquals(active, mine, `${id} after ${action}`);
            assert(active <= max);
          }
          assertEquals(asked - settled, pool.queued);
          const idle = members.some(({ state, active }) =>
            (state === "healthy" || state === "starting") && active < max
          );
          assert(!idle || pool.queued === 0, "nobody waits while there is a place");
          assert(pool.serves || pool.queued === 0, "nobody waits for nobody");
        }
        for (const client of clients) client.abort();
        await new Promise((resolve) => setTimeout(resolve, 0));
        assertEquals(pool.queued, 0);
      },
    ),
    { numRuns: 60 },
  );
});
