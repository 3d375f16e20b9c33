import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { Lease } from "../../../src/routing/lease.ts";
import { ReplicaPool } from "../../../src/routing/replica_pool.ts";
import { TestClock } from "./_clock.ts";

const STREAM = { tokens: 5, stream: true, session: null, prefix: [] };
const WHOLE = { ...STREAM, stream: false };

interface Fixture {
  readonly clock: TestClock;
  readonly pool: ReplicaPool<null>;
  readonly ejected: string[];
  /** A place at one of the replicas. */
  readonly at: (id: string, request?: typeof STREAM) => Lease<null>;
  /** Requests that a replica begins to answer after so many milliseconds. */
  readonly answers: (id: string, milliseconds: number, count?: number) => void;
}

function poolOf(ids: readonly string[]): Fixture {
  const clock = new TestClock();
  const ejected: string[] = [];
  const pool = new ReplicaPool<null>({
    now: clock.now,
    openMs: 100,
    slowStartMs: 1000,
    policy: { name: "by session", select: (loads) => loads.find(({ id }) => id === wanted)! },
    onEject: (id, reason) => ejected.push(`${id}: ${reason}`),
  });
  let wanted = "";
  for (const id of ids) pool.add(id, null);
  const at = (id: string, request = STREAM): Lease<null> => {
    wanted = id;
    return pool.tryAcquire(request)!;
  };
  const answers = (id: string, milliseconds: number, count = 8): void => {
    for (let i = 0; i < count; i++) {
      const lease = at(id);
      clock.pass(milliseconds);
      lease.received();
      lease.end("served");
    }
  };
  return { clock, pool, ejected, at, answers };
}

const states = (pool: ReplicaPool<null>): string =>
  pool.members.map(({ state }) => state).join(" ");

Deno.test("a slow replica is ejected, comes back by a probe, and longer each time it is slow again", () => {
  const { clock, pool, ejected, answers } = poolOf(["a", "b", "c"]);
  for (const id of ["a", "b", "c"]) answers(id, 10);
  const slowAgain = (): number => {
    while (pool.members[1].state !== "ejected") answers("b", 1000, 1);
    let waited = 0;
    for (; pool.members[1].state === "ejected"; waited += 100) clock.pass(100);
    answers("b", 10, 1);
    assertEquals(states(pool), "healthy starting healthy");
    clock.pass(1000);
    for (const id of ["a", "c"]) answers(id, 10);
    return waited;
  };
  assertEquals([1, 2, 3].map(slowAgain), [100, 200, 400]);
  assertEquals(ejected[0], "b: answers begin after 1000 ms, others' after 10 ms");
  assertEquals(pool.members.map(({ ejections }) => ejections), [0, 3, 0]);
  assertEquals(pool.members[1].ejection, null);
});

Deno.test("a silent replica is ejected, and what it has not begun is taken back", () => {
  const { clock, pool, ejected, at, answers } = poolOf(["a", "b"]);
  for (const id of ["a", "b"]) answers(id, 10);
  const begun = at("a");
  begun.received();
  const waiting = [at("a"), at("a", WHOLE)];
  clock.pass(3900);
  pool.ejectStuck();
  assertEquals(states(pool), "healthy healthy", "not yet: twice as much waits as usually");
  begun.received();
  clock.pass(3900);
  pool.ejectStuck();
  assertEquals(states(pool), "healthy healthy", "it has said something meanwhile");
  clock.pass(601);
  pool.ejectStuck();
  assertEquals(states(pool), "ejected healthy");
  assertEquals([begun, ...waiting].map(({ withdrawn }) => withdrawn), [false, true, true]);
  assertEquals(ejected, ["a: silent for 4501 ms with requests waiting"]);
  assertEquals(pool.members[0].ejection, "silent for 4501 ms with requests waiting");
});

Deno.test("a probe that is answered, and answers in one piece, say nothing of silence", () => {
  const { clock, pool, at, answers } = poolOf(["a", "b"]);
  for (const id of ["a", "b"]) answers(id, 10);
  at("a", WHOLE);
  clock.pass(60_000);
  pool.ejectStuck();
  const lease = at("a");
  clock.pass(3900);
  pool.probed("a");
  clock.pass(3900);
  pool.ejectStuck();
  assertEquals(states(pool), "healthy healthy");
  assert(!lease.withdrawn);
});

Deno.test("silence while requests are held is excused", () => {
  const { clock, pool, at, answers } = poolOf(["a", "b"]);
  for (const id of ["a", "b"]) answers(id, 10);
  at("a");
  {
    using _hold = pool.hold();
    clock.pass(60_000);
    pool.ejectStuck();
  }
  clock.pass(1900);
  pool.ejectStuck();
  assertEquals(states(pool), "healthy healthy");
  clock.pass(101);
  pool.ejectStuck();
  assertEquals(states(pool), "ejected healthy");
});

Deno.test("where all are silent, or too many are out, nobody is ejected", () => {
  const { clock, pool, at, answers } = poolOf(["a", "b", "c"]);
  for (const id of ["a", "b", "c"]) answers(id, 10);
  for (const id of ["a", "b", "c"]) at(id);
  clock.pass(30_000);
  pool.ejectStuck();
  assertEquals(states(pool), "healthy healthy healthy");
  answers("c", 10, 1);
  pool.ejectStuck();
  assertEquals(states(pool), "ejected healthy healthy", "half of three is one");
});

Deno.test("a request that waits a second time ejects nobody", () => {
  const { clock, pool, answers } = poolOf(["b", "a"]);
  for (const id of ["b", "a"]) answers(id, 10);
  const lease = pool.tryAcquireOther(STREAM, new Set(["b"]));
  assertEquals(lease?.id, "a");
  clock.pass(60_000);
  pool.ejectStuck();
  assertEquals(states(pool), "healthy healthy");
  assertEquals(pool.tryAcquireOther(STREAM, new Set(["a", "b"])), null);
});

Deno.test("a share of replicas that is none is refused", () => {
  assertThrows(() => new ReplicaPool({ outliers: { maxEjectedShare: 1.1 } }), RangeError, "1.1");
});

Deno.test("never is more than half ejected for being slow or silent, whatever happens", () => {
  const step = fc.record({
    action: fc.constantFrom("send", "send", "begin", "end", "wait", "outrun", "look"),
    index: fc.nat(9),
  });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 300 }),
      fc.integer({ min: 1, max: 5 }),
      (steps, size) => {
        const clock = new TestClock();
        const pool = new ReplicaPool<null>({
          now: clock.now,
          openMs: 1000,
          outliers: {
            minRequests: 1,
            minReplicas: 2,
            marginMs: 0,
            silenceFloorMs: 1,
            intervalMs: 0,
          },
        });
        for (let i = 0; i < size; i++) pool.add(`${i}`, null);
        const held: Lease<null>[] = [];
        for (const { action, index } of steps) {
          const lease = held[index % Math.max(1, held.length)];
          if (action === "send") {
            const sent = pool.tryAcquire(index % 3 === 0 ? WHOLE : STREAM);
            if (sent !== null) held.push(sent);
          } else if (action === "wait") clock.pass(3 ** index);
          else if (action === "look") pool.ejectStuck();
          else if (action === "begin") lease?.received();
          else lease?.end(action === "end" ? "served" : "outrun");
          const out = pool.members.filter(({ serves }) => !serves).length;
          assert(out <= size / 2, `${out} of ${size} after ${action}`);
        }
        for (const lease of held) lease.end("cancelled");
        for (const { active } of pool.members) assertEquals(active, 0);
      },
    ),
    { numRuns: 200 },
  );
});
