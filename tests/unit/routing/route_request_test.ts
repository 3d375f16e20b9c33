import { assert, assertEquals, assertRejects } from "@std/assert";
import { AttemptError } from "../../../src/routing/attempt.ts";
import { CoarseTimers } from "../../../src/routing/coarse_timers.ts";
import type { Lease } from "../../../src/routing/lease.ts";
import { ReplicaPool } from "../../../src/routing/replica_pool.ts";
import { RetryBudget } from "../../../src/routing/retry_budget.ts";
import { type Routed, routeRequest } from "../../../src/routing/route_request.ts";

/** An attempt that waits for what a test makes of it. */
interface Try {
  readonly lease: Lease<null>;
  readonly signal: AbortSignal;
  readonly begins: () => void;
  readonly fails: (error: Error) => void;
}

interface Fixture extends Disposable {
  readonly pool: ReplicaPool<null>;
  readonly budget: RetryBudget;
  readonly client: AbortController;
  readonly tries: readonly Try[];
  readonly events: readonly string[];
  /** Sends a request. */
  send(options?: { readonly stream?: boolean }): Promise<Routed<null, string>>;
  /** Resolves when the request was tried so often. */
  tried(count: number): Promise<void>;
}

function routeOver(ids: readonly string[], reserve = 10): Fixture {
  const first = { name: "first", select: <L>(loads: readonly L[]) => loads[0] };
  const pool = new ReplicaPool<null>({ policy: first });
  for (const id of ids) pool.add(id, null);
  const budget = new RetryBudget({ reserve });
  const client = new AbortController();
  const timers = new CoarseTimers();
  const tries: Try[] = [];
  const events: string[] = [];
  let seen = Promise.withResolvers<void>();
  const attempt = (lease: Lease<null>, signal: AbortSignal): Promise<string> => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    signal.addEventListener("abort", () => reject(signal.reason));
    const begins = (): void => {
      lease.received();
      resolve(lease.id);
    };
    tries.push({ lease, signal, begins, fails: reject });
    seen.resolve();
    return promise;
  };
  return {
    pool,
    budget,
    client,
    tries,
    events,
    [Symbol.dispose]: () => timers[Symbol.dispose](),
    send: ({ stream = true } = {}) =>
      routeRequest({
        pool,
        budget,
        attempt,
        request: { tokens: 1, stream, session: null, prefix: [] },
        signal: client.signal,
        hedgeAfterMs: 1,
        queueDeadlineMs: 60_000,
        timers,
        firstByteTimeoutMs: 60_000,
        observer: {
          retried: () => events.push("retried"),
          hedged: () => events.push("hedged"),
          hedgeWon: () => events.push("won"),
        },
      }),
    async tried(count) {
      while (tries.length < count) {
        await seen.promise;
        seen = Promise.withResolvers();
      }
    },
  };
}

const counts = (pool: ReplicaPool<null>): number[][] =>
  pool.members.map(({ active, failed }) => [active, failed]);

for (const winner of [0, 1]) {
  Deno.test(`hedging: attempt ${winner} begins first, and the other is ended`, async () => {
    using route = routeOver(["a", "b", "c"]);
    const answer = route.send();
    await route.tried(2);
    assertEquals(route.tries.map(({ lease }) => lease.id), ["a", "b"]);
    route.tries[winner].begins();
    const { lease, result, abort } = await answer;
    assertEquals([lease.id, result], [["a", "b"][winner], ["a", "b"][winner]]);
    assertEquals(route.tries.map(({ signal }) => signal.aborted), [winner === 1, winner === 0]);
    assertEquals(counts(route.pool), [0, 1, 2].map((i) => [i === winner ? 1 : 0, 0]));
    assertEquals(route.events, winner === 1 ? ["hedged", "won"] : ["hedged"]);
    assertEquals(route.budget.balance, 9, "a hedge costs what a retry costs");
    abort(new Error("gone"));
    assert(route.tries[winner].signal.aborted);
    lease.end("served");
  });
}

Deno.test("hedging: where one fails the other goes on, and where both do the next is asked", async () => {
  using route = routeOver(["a", "b", "c"]);
  const answer = route.send();
  await route.tried(2);
  route.tries[0].fails(new AttemptError("500", { failure: "failed" }));
  await Promise.resolve();
  route.tries[1].fails(new AttemptError("reset", { failure: "lost" }));
  await route.tried(3);
  assertEquals(route.tries[2].lease.id, "c");
  route.tries[2].begins();
  (await answer).lease.end("served");
  assertEquals(counts(route.pool), [[0, 1], [0, 1], [0, 0]]);
  assertEquals(
    route.events,
    ["hedged", "retried"],
    "all others were tried: no hedge for the third",
  );
});

Deno.test("hedging: a client that goes ends both, an error that is no replica's ends the request", async () => {
  using gone = routeOver(["a", "b"]);
  const answer = gone.send();
  await gone.tried(2);
  gone.client.abort(new Error("gone"));
  await assertRejects(() => answer, Error, "gone");
  assertEquals(counts(gone.pool), [[0, 0], [0, 0]]);

  using broken = routeOver(["a", "b"]);
  const other = broken.send();
  await broken.tried(2);
  broken.tries[1].fails(new TypeError("unexpected"));
  await assertRejects(() => other, TypeError, "unexpected");
  assertEquals(broken.tries.map(({ signal }) => signal.aborted), [true, true]);
  assertEquals(counts(broken.pool), [[0, 0], [0, 0]]);
});

Deno.test("no hedge without a budget, another replica, or a stream", async () => {
  const cases = [
    { ids: ["a", "b"], reserve: 0, stream: true },
    { ids: ["a"], reserve: 10, stream: true },
    { ids: ["a", "b"], reserve: 10, stream: false },
  ];
  for (const { ids, reserve, stream } of cases) {
    using route = routeOver(ids, reserve);
    const answer = route.send({ stream });
    await route.tried(1);
    await new Promise((resolve) => setTimeout(resolve, 5));
    assertEquals(route.tries.length, 1);
    route.tries[0].begins();
    (await answer).lease.end("served");
    assertEquals(route.events, []);
  }
});
