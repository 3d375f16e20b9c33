/** The fleets and loads that policies are measured with. */
import { randomNumbers, type Scenario } from "./fleet_simulation.ts";

const REPLICAS = 100;

const BASE = {
  slots: 8,
  ownTokens: 128,
  outputTokens: 128,
  cachedGroups: 16,
  prefillSeconds: 0.0002,
  decodeSeconds: 0.02,
  sharedTokens: 0,
  groups: 1000,
} as const;

/** Requests a second that the whole fleet can answer when nothing is cached. */
function capacity(speeds: readonly number[], scenario: typeof BASE): number {
  const seconds = (scenario.ownTokens + scenario.sharedTokens) * scenario.prefillSeconds +
    (scenario.outputTokens + 0.5) * scenario.decodeSeconds;
  return speeds.reduce((sum, speed) => sum + speed, 0) * scenario.slots / seconds;
}

function atLoad(
  share: number,
  speeds: readonly number[],
): Pick<Scenario, "speeds" | "arrivalsPerSecond"> {
  return { speeds, arrivalsPerSecond: share * capacity(speeds, BASE) };
}

const EQUAL = Array.from({ length: REPLICAS }, () => 1);

/** Speeds from 0.4 to 2.5, most of them about 1, as machines that others use too have them. */
const SKEWED = ((random) =>
  Array.from({ length: REPLICAS }, () => {
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    return Math.min(2.5, Math.max(0.4, Math.exp(0.5 * normal)));
  }))(randomNumbers(7));

/** Long prompts that begin alike in groups, more groups than one replica keeps. */
const PREFIXES = {
  ...BASE,
  ownTokens: 64,
  outputTokens: 32,
  sharedTokens: 8192,
  groups: 800,
  cachedGroups: 16,
} as const;

/** Scenarios by what they show. */
export const SCENARIOS: readonly Scenario[] = [
  { ...BASE, name: "equal replicas, 80 % load", requests: 60_000, ...atLoad(0.8, EQUAL) },
  { ...BASE, name: "skewed replicas, 70 % load", requests: 60_000, ...atLoad(0.7, SKEWED) },
  {
    ...PREFIXES,
    name: "shared prefixes, 600 clients",
    speeds: EQUAL,
    arrivalsPerSecond: 0,
    clients: 600,
    requests: 60_000,
  },
];
