import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import type {
  BalancingPolicy,
  ReplicaLoad,
  RoutedRequest,
} from "../../../src/routing/balancing_policy.ts";
import {
  BALANCING_POLICY_NAMES,
  createBalancingPolicy,
} from "../../../src/routing/policies/mod.ts";
import { LeastLoadedPolicy } from "../../../src/routing/policies/least_loaded.ts";
import { PeakEwmaPolicy } from "../../../src/routing/policies/peak_ewma.ts";
import { PowerOfTwoPolicy } from "../../../src/routing/policies/power_of_two.ts";
import { PrefixAwarePolicy } from "../../../src/routing/policies/prefix_aware.ts";
import { RoundRobinPolicy } from "../../../src/routing/policies/round_robin.ts";
import { SessionAffinityPolicy } from "../../../src/routing/policies/session_affinity.ts";
import { WeightedRoundRobinPolicy } from "../../../src/routing/policies/weighted_round_robin.ts";
import { prefixHashes } from "../../../src/routing/prefix_hash.ts";

const REQUEST: RoutedRequest = { tokens: 1, stream: true, session: null, prefix: [] };

function load(id: string, values: Partial<ReplicaLoad> = {}): ReplicaLoad {
  return { id, weight: 1, active: 0, tokens: 0, ...values };
}

function pick(
  policy: BalancingPolicy,
  loads: readonly ReplicaLoad[],
  request: Partial<RoutedRequest> = {},
): string {
  return policy.select(loads, { ...REQUEST, ...request }).id;
}

const loads = fc.uniqueArray(
  fc.record({
    id: fc.string({ minLength: 1, maxLength: 4 }),
    weight: fc.double({ min: 0.01, max: 100, noNaN: true }),
    active: fc.nat(100),
    tokens: fc.nat(10_000),
  }),
  { selector: ({ id }) => id, minLength: 1, maxLength: 8 },
);

Deno.test("every policy chooses one of the candidates, whoever comes and goes", () => {
  const request = fc.record({
    tokens: fc.nat(1000),
    stream: fc.boolean(),
    session: fc.option(fc.string()),
    prefix: fc.array(fc.nat(20), { maxLength: 6 }),
  });
  for (const name of BALANCING_POLICY_NAMES) {
    fc.assert(fc.property(fc.array(fc.tuple(loads, request), { maxLength: 12 }), (rounds) => {
      const policy = createBalancingPolicy(name);
      assertEquals(policy.name, name);
      rounds.forEach(([candidates, asked], round) => {
        const chosen = policy.select(candidates, asked);
        assert(candidates.includes(chosen));
        policy.sent?.(chosen.id, asked);
        if (round % 2 === 0) {
          policy.ended?.(chosen.id, {
            stream: round % 4 === 0,
            firstByteMs: round,
            totalMs: round,
            failed: round % 4 === 0,
          });
        }
        if (round % 3 === 0) policy.left?.(chosen.id);
      });
    }));
  }
});

Deno.test("round-robin: in turn, newcomers first", () => {
  const policy = new RoundRobinPolicy();
  const both = [load("a", { active: 9 }), load("b")];
  assertEquals([1, 2, 3, 4].map(() => pick(policy, both)), ["a", "b", "a", "b"]);
  assertEquals(pick(policy, [...both, load("c")]), "c");
  assertEquals(pick(policy, [load("b")]), "b");
  assertEquals(pick(policy, both), "a");
});

Deno.test("weighted round-robin: shares are exact and turns are spread", () => {
  const policy = new WeightedRoundRobinPolicy();
  const fleet = [load("a", { weight: 5 }), load("b"), load("c")];
  const turns = Array.from({ length: 7 }, () => pick(policy, fleet)).join("");
  assertEquals(turns, "aabacaa");
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (weights) => {
    const candidates = weights.map((weight, i) => load(String(i), { weight }));
    const fresh = new WeightedRoundRobinPolicy();
    const counts = weights.map(() => 0);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (let i = 0; i < 2 * total; i++) counts[Number(pick(fresh, candidates))]++;
    assertEquals(counts, weights.map((weight) => 2 * weight));
  }));
});

Deno.test("least-loaded: requests for the weight, then tokens, then in turn", () => {
  const policy = new LeastLoadedPolicy();
  assertEquals(pick(policy, [load("a", { active: 3 }), load("b", { active: 2 })]), "b");
  assertEquals(pick(policy, [load("a", { active: 3, weight: 2 }), load("b", { active: 2 })]), "a");
  const tokens = [load("a", { active: 2, tokens: 90 }), load("b", { active: 2, tokens: 80 })];
  assertEquals([1, 2].map(() => pick(policy, tokens)), ["b", "b"]);
  const equal = [load("a"), load("b"), load("c")];
  assertEquals(new Set([1, 2, 3].map(() => pick(policy, equal))).size, 3);
});

Deno.test("power of two: never the most loaded of three, and each of the others", () => {
  let seed = 1;
  const random = (): number => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const policy = new PowerOfTwoPolicy({ random });
  const fleet = [load("a", { active: 5 }), load("b", { active: 6 }), load("c", { active: 7 })];
  const counts: Record<string, number> = { a: 0, b: 0, c: 0 };
  for (let i = 0; i < 3000; i++) counts[pick(policy, fleet)]++;
  assertEquals(counts.c, 0);
  assert(Math.abs(counts.a - 2000) < 150, `two of three pairs hold a: ${counts.a}`);
});

Deno.test("response-time: slow at once, fast again slowly, newcomers are tried", () => {
  let now = 0;
  const policy = new PeakEwmaPolicy({ now: () => now, decayMs: 1000 });
  const both = [load("a"), load("b")];
  policy.ended("a", { stream: true, firstByteMs: 10, totalMs: 99, failed: false });
  policy.ended("b", { stream: true, firstByteMs: 20, totalMs: 99, failed: false });
  assertEquals(pick(policy, both), "a");
  assertEquals(pick(policy, [load("a", { active: 2 }), load("b")]), "b");
  const slow = { stream: true, firstByteMs: 900, totalMs: 999, failed: false };
  for (let i = 0; i < 4; i++) policy.ended("a", slow);
  assertEquals(pick(policy, both), "b", "10 ms x 1.25^4 is more than 20 ms");
  policy.ended("a", { stream: true, firstByteMs: 10, totalMs: 20, failed: false });
  assertEquals(pick(policy, both), "b", "one fast answer is not enough");
  now += 3000;
  policy.ended("a", { stream: true, firstByteMs: 10, totalMs: 20, failed: false });
  policy.ended("b", { stream: true, firstByteMs: 20, totalMs: 20, failed: false });
  assertEquals(pick(policy, both), "a");
  for (let i = 0; i < 4; i++) {
    policy.ended("a", { stream: true, firstByteMs: null, totalMs: 5000, failed: true });
  }
  assertEquals(pick(policy, both), "b", "a failure counts as long as it took");
  now += 9000;
  policy.ended("b", { stream: true, firstByteMs: 20, totalMs: 20, failed: false });
  assertEquals(pick(policy, both), "a", "nobody has heard of it for long: it is tried again");
  assertEquals(pick(policy, [load("b", { active: 1 }), load("c")]), "c", "newcomers are tried");
  policy.left("b");
  assertEquals(pick(policy, [load("a", { active: 9 }), load("b")]), "b");
});

Deno.test("response-time: what answers in one piece take says nothing of streams, nor the reverse", () => {
  const policy = new PeakEwmaPolicy({ now: () => 0 });
  const both = [load("a"), load("b")];
  policy.ended("a", { stream: true, firstByteMs: 10, totalMs: 4000, failed: false });
  policy.ended("b", { stream: true, firstByteMs: 20, totalMs: 4000, failed: false });
  policy.ended("a", { stream: false, firstByteMs: null, totalMs: 5000, failed: false });
  policy.ended("b", { stream: false, firstByteMs: null, totalMs: 3000, failed: false });
  assertEquals(pick(policy, both, { stream: true }), "a");
  assertEquals(pick(policy, both, { stream: false }), "b");
});

Deno.test("prefix-aware: the longest prefix within the bound, else the least loaded", () => {
  const policy = new PrefixAwarePolicy({ loadBound: 2 });
  policy.sent("a", { ...REQUEST, prefix: [1, 2] });
  policy.sent("b", { ...REQUEST, prefix: [1, 2, 3] });
  const fleet = (a: number, b: number, c: number): ReplicaLoad[] => [
    load("a", { active: a }),
    load("b", { active: b }),
    load("c", { active: c }),
  ];
  assertEquals(pick(policy, fleet(0, 1, 0), { prefix: [1, 2, 3, 4] }), "b");
  assertEquals(
    pick(policy, fleet(2, 20, 3), { prefix: [1, 2, 3, 4] }),
    "a",
    "b has too much to do",
  );
  assertEquals(pick(policy, fleet(3, 4, 2), { prefix: [7, 2, 3] }), "c", "nobody has seen it");
  policy.left("b");
  assertEquals(pick(policy, fleet(1, 0, 0), { prefix: [1, 2, 3] }), "a");
  const short = new PrefixAwarePolicy({ partsPerReplica: 2 });
  short.sent("a", { ...REQUEST, prefix: [1, 2] });
  short.sent("a", { ...REQUEST, prefix: [3, 4] });
  assertEquals(
    pick(short, fleet(1, 0, 0), { prefix: [1, 2] }) === "a",
    false,
    "old parts are gone",
  );
  assertThrows(() => new PrefixAwarePolicy({ loadBound: 0.9 }), RangeError, "0.9");
});

Deno.test("session affinity: only the sessions of who left move; shares follow the weights", () => {
  const policy = new SessionAffinityPolicy();
  const fleet = ["a", "b", "c", "d"].map((id) => load(id, { weight: id === "d" ? 3 : 1 }));
  const sessions = Array.from({ length: 6000 }, (_, i) => `session ${i}`);
  const before = sessions.map((session) => pick(policy, fleet, { session }));
  const without = fleet.filter(({ id }) => id !== "b");
  sessions.forEach((session, i) => {
    const now = pick(policy, without, { session });
    if (before[i] !== "b") assertEquals(now, before[i]);
    else assert(now !== "b");
  });
  const share = (id: string): number => before.filter((chosen) => chosen === id).length / 6000;
  for (const { id, weight } of fleet) {
    assert(Math.abs(share(id) - weight / 6) < 0.02, `${id} has ${share(id)} of the sessions`);
  }
  assertEquals(
    pick(policy, [load("a", { active: 1 }), load("b")]),
    "b",
    "no session, least loaded",
  );
});

Deno.test("prefix hashes: equal for equal beginnings, of text and of tokens", () => {
  fc.assert(fc.property(
    fc.string({ maxLength: 60 }),
    fc.string({ maxLength: 60 }),
    fc.integer({ min: 1, max: 9 }),
    (a, b, size) => {
      const [first, second] = [prefixHashes(a, size), prefixHashes(b, size)];
      assertEquals(first.length, Math.floor(a.length / size));
      for (let part = 0; part < Math.min(first.length, second.length); part++) {
        const end = (part + 1) * size;
        assertEquals(first[part] === second[part], a.slice(0, end) === b.slice(0, end));
      }
    },
  ));
  const tokens = Array.from({ length: 10_000 }, (_, i) => i % 7);
  assertEquals(prefixHashes(tokens, 16).length, 256);
  assertEquals(prefixHashes(new Uint32Array(tokens), 16), prefixHashes(tokens, 16));
});
