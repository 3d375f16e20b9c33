/**
 * The balancing policies by the names of their flags.
 * @module
 */
import type { BalancingPolicy } from "../balancing_policy.ts";
import { LeastLoadedPolicy } from "./least_loaded.ts";
import { PeakEwmaPolicy } from "./peak_ewma.ts";
import { PowerOfTwoPolicy } from "./power_of_two.ts";
import { PrefixAwarePolicy } from "./prefix_aware.ts";
import { RoundRobinPolicy } from "./round_robin.ts";
import { SessionAffinityPolicy } from "./session_affinity.ts";
import { WeightedRoundRobinPolicy } from "./weighted_round_robin.ts";

const POLICIES = {
  "least-loaded": () => new LeastLoadedPolicy(),
  "round-robin": () => new RoundRobinPolicy(),
  "weighted-round-robin": () => new WeightedRoundRobinPolicy(),
  "response-time": () => new PeakEwmaPolicy(),
  "power-of-two": () => new PowerOfTwoPolicy(),
  "prefix-aware": () => new PrefixAwarePolicy(),
  "session-affinity": () => new SessionAffinityPolicy(),
} as const satisfies Readonly<Record<string, () => BalancingPolicy>>;

/** Name of a balancing policy. */
export type BalancingPolicyName = keyof typeof POLICIES;

/** The names, the default first. */
export const BALANCING_POLICY_NAMES: readonly BalancingPolicyName[] = Object.keys(
  POLICIES,
) as BalancingPolicyName[];

/** A new policy of that name, for one router. */
export function createBalancingPolicy(name: BalancingPolicyName): BalancingPolicy {
  return POLICIES[name]();
}
