/**
 * Compares the balancing policies on a simulated fleet of 100 replicas:
 *
 *     deno run bench/routing/simulate.ts [--json]
 *
 * Simulated time: the figures are the same on every machine.
 */
import { parseArgs } from "node:util";
import type { BalancingPolicy } from "../../src/routing/balancing_policy.ts";
import { BALANCING_POLICY_NAMES, createBalancingPolicy } from "../../src/routing/policies/mod.ts";
import { PeakEwmaPolicy } from "../../src/routing/policies/peak_ewma.ts";
import { PowerOfTwoPolicy } from "../../src/routing/policies/power_of_two.ts";
import { simulateFleet } from "./fleet_simulation.ts";
import { SCENARIOS } from "./scenarios.ts";

/** A policy that takes time and chance from the simulation. */
export function simulatedPolicy(
  name: typeof BALANCING_POLICY_NAMES[number],
  tools: { readonly now: () => number; readonly random: () => number },
): BalancingPolicy {
  if (name === "response-time") return new PeakEwmaPolicy(tools);
  return name === "power-of-two" ? new PowerOfTwoPolicy(tools) : createBalancingPolicy(name);
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { json: { type: "boolean", default: false } } });
  const results = SCENARIOS.map((scenario) => ({
    scenario: scenario.name,
    policies: BALANCING_POLICY_NAMES.map((policy) => ({
      policy,
      ...simulateFleet(scenario, (tools) => simulatedPolicy(policy, tools)),
    })),
  }));
  if (values.json) console.log(JSON.stringify(results, null, 2));
  else {
    for (const { scenario, policies } of results) {
      console.log(`\n${scenario}\n`);
      console.log(
        "| policy | TTFT p50 / p99 | latency p50 / p99 | imbalance | prefix hits | req/s |",
      );
      console.log("|---|---|---|---|---|---|");
      for (const { policy, firstToken, latency, imbalance, hitRate, throughput } of policies) {
        const seconds = (pair: readonly number[]): string =>
          pair.map((s) => s.toFixed(2)).join(" / ");
        console.log(
          `| ${policy} | ${seconds(firstToken)} s | ${seconds(latency)} s | ${
            imbalance.toFixed(2)
          } | ` +
            `${Math.round(100 * hitRate)} % | ${throughput.toFixed(0)} |`,
        );
      }
    }
  }
}
