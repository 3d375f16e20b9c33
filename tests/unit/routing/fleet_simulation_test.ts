import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { EventQueue } from "../../../bench/routing/event_queue.ts";
import {
  type Scenario,
  type SimulatedFigures,
  simulateFleet,
} from "../../../bench/routing/fleet_simulation.ts";
import { SCENARIOS } from "../../../bench/routing/scenarios.ts";
import { simulatedPolicy } from "../../../bench/routing/simulate.ts";
import type { BalancingPolicyName } from "../../../src/routing/policies/mod.ts";

function simulate(scenario: Scenario, policy: BalancingPolicyName): SimulatedFigures {
  return simulateFleet(
    { ...scenario, requests: 15_000 },
    (tools) => simulatedPolicy(policy, tools),
  );
}

Deno.test("under skew: power of two and least-loaded far ahead of round-robin, as theory says", () => {
  const [, skewed] = SCENARIOS;
  const [roundRobin, powerOfTwo, leastLoaded, responseTime] =
    (["round-robin", "power-of-two", "least-loaded", "response-time"] as const)
      .map((policy) => simulate(skewed, policy));
  for (const better of [powerOfTwo, leastLoaded, responseTime]) {
    assert(better.firstToken[1] < roundRobin.firstToken[1] / 10);
    assert(better.latency[1] < roundRobin.latency[1] / 2);
    assert(better.imbalance < roundRobin.imbalance);
  }
  assert(leastLoaded.firstToken[1] <= powerOfTwo.firstToken[1]);
});

Deno.test("where prompts share prefixes: prefix-aware serves 1.9 times as much, and more", () => {
  const [, , shared] = SCENARIOS;
  const [leastLoaded, prefixAware] = (["least-loaded", "prefix-aware"] as const)
    .map((policy) => simulate(shared, policy));
  assert(prefixAware.throughput > 1.9 * leastLoaded.throughput);
  assert(prefixAware.hitRate > 0.7 && leastLoaded.hitRate < 0.1);
  assert(prefixAware.imbalance < 1.25, "the bound keeps loads even");
});

Deno.test("a seed gives the same figures again", () => {
  const [scenario] = SCENARIOS;
  assertEquals(simulate(scenario, "power-of-two"), simulate(scenario, "power-of-two"));
});

Deno.test("events come in the order of their times, equal ones as they were added", () => {
  fc.assert(fc.property(fc.array(fc.nat(9), { maxLength: 40 }), (times) => {
    const queue = new EventQueue<number>();
    times.forEach((at, index) => queue.push(at, index));
    const popped = times.map(() => queue.pop()!);
    const expected = times.map((at, event) => ({ at, event })).sort((a, b) => a.at - b.at);
    assertEquals(popped.map(({ at, event }) => ({ at, event })), expected);
    assertEquals([queue.pop(), queue.size], [undefined, 0]);
  }));
});
