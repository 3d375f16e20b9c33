/**
 * A fleet of replicas in simulated time: what a balancing policy does to latencies, without a machine
 * that could disturb it. The same seed gives the same figures.
 */
import type { BalancingPolicy, RoutedRequest } from "../../src/routing/balancing_policy.ts";
import type { Lease } from "../../src/routing/lease.ts";
import { ReplicaPool } from "../../src/routing/replica_pool.ts";
import { EventQueue } from "./event_queue.ts";
import { quantile } from "./quantile.ts";

/** The fleet and its load. */
export interface Scenario {
  /** Name in the table. */
  readonly name: string;
  /** Relative speed of each replica; 1 is the usual one. */
  readonly speeds: readonly number[];
  /** Requests that a replica computes at once; more wait there. */
  readonly slots: number;
  /** Requests that arrive in a second, at random times (Poisson); the fleet's own pace when `clients` is set. */
  readonly arrivalsPerSecond: number;
  /** Clients that send their next request when the last was answered, instead of arrivals. */
  readonly clients?: number;
  /** Requests to simulate. */
  readonly requests: number;
  /** Tokens of a prompt that it shares with others of its group. */
  readonly sharedTokens: number;
  /** Groups of prompts that begin alike, drawn with equal chances; each stands for a session, too. */
  readonly groups: number;
  /** Tokens of a prompt that are its own. */
  readonly ownTokens: number;
  /** Mean tokens of an answer (geometric). */
  readonly outputTokens: number;
  /** Groups whose prefix a replica keeps, the latest used. */
  readonly cachedGroups: number;
  /** Seconds that a replica of speed 1 takes for a token of a prompt. */
  readonly prefillSeconds: number;
  /** Seconds that it takes for a token of an answer. */
  readonly decodeSeconds: number;
}

/** What a policy made of a scenario. */
export interface SimulatedFigures {
  /** Seconds from arrival to the first token, median and 99th percentile. */
  readonly firstToken: readonly [number, number];
  /** Seconds from arrival to the last token, median and 99th percentile. */
  readonly latency: readonly [number, number];
  /** Busy slots for a replica's speed: the highest of all replicas over the mean. */
  readonly imbalance: number;
  /** Share of the shared tokens that were cached. */
  readonly hitRate: number;
  /** Answers in a second. */
  readonly throughput: number;
}

interface Job {
  readonly arrival: number;
  readonly group: number;
  readonly output: number;
  readonly lease: Lease<SimulatedReplica>;
}

type Event = { readonly kind: "arrival" } | { readonly kind: "first" | "end"; readonly job: Job };

/** Seed and random numbers of a simulation (Steele et al.: splitmix, 32 bits). */
export function randomNumbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

class SimulatedReplica {
  readonly speed: number;
  readonly waiting: Job[] = [];
  busy = 0;
  busySeconds = 0;
  readonly #cached = new Set<number>();
  readonly #limit: number;

  constructor(speed: number, cachedGroups: number) {
    this.speed = speed;
    this.#limit = cachedGroups;
  }

  /** Whether the group's prefix is cached; it is afterwards. */
  touch(group: number): boolean {
    const hit = this.#cached.delete(group);
    this.#cached.add(group);
    for (const oldest of this.#cached) {
      if (this.#cached.size <= this.#limit) break;
      this.#cached.delete(oldest);
    }
    return hit;
  }
}

/** Runs a scenario. `policy` gets the simulation's clock (milliseconds) and random numbers. */
export function simulateFleet(
  scenario: Scenario,
  policy: (tools: { readonly now: () => number; readonly random: () => number }) => BalancingPolicy,
  seed = 1,
): SimulatedFigures {
  const random = randomNumbers(seed);
  let time = 0;
  const now = (): number => time * 1000;
  const pool = new ReplicaPool<SimulatedReplica>({
    now,
    policy: policy({ now, random: randomNumbers(seed + 1) }),
    // Policies are compared here, not what saves a bad one.
    outliers: { maxEjectedShare: 0 },
  });
  const replicas = scenario.speeds.map((speed) =>
    new SimulatedReplica(speed, scenario.cachedGroups)
  );
  replicas.forEach((replica, index) => pool.add(`replica ${index}`, replica));
  const events = new EventQueue<Event>();
  const firstTokens: number[] = [];
  const latencies: number[] = [];
  let [arrived, sharedTokens, hitTokens] = [0, 0, 0];

  const schedule = (seconds: number): void => {
    if (arrived++ < scenario.requests) events.push(time + seconds, { kind: "arrival" });
  };
  const start = (replica: SimulatedReplica, job: Job): void => {
    replica.busy++;
    const hit = replica.touch(job.group);
    sharedTokens += scenario.sharedTokens;
    if (hit) hitTokens += scenario.sharedTokens;
    const prompt = scenario.ownTokens + (hit ? 0 : scenario.sharedTokens);
    const prefill = prompt * scenario.prefillSeconds / replica.speed;
    const decode = job.output * scenario.decodeSeconds / replica.speed;
    replica.busySeconds += prefill + decode;
    events.push(time + prefill, { kind: "first", job });
    events.push(time + prefill + decode, { kind: "end", job });
  };

  if (scenario.clients === undefined) schedule(0);
  else for (let client = 0; client < scenario.clients; client++) schedule(0);
  for (let next = events.pop(); next !== undefined; next = events.pop()) {
    time = next.at;
    const { event } = next;
    if (event.kind === "arrival") {
      if (scenario.clients === undefined) {
        schedule(-Math.log(1 - random()) / scenario.arrivalsPerSecond);
      }
      const group = Math.floor(random() * scenario.groups);
      const output = 1 + Math.floor(Math.log(1 - random()) * -scenario.outputTokens);
      const lease = pool.tryAcquire(requestOf(scenario, group, output))!;
      const job = { arrival: time, group, output, lease };
      if (lease.target.busy < scenario.slots) start(lease.target, job);
      else lease.target.waiting.push(job);
    } else if (event.kind === "first") {
      event.job.lease.received();
      firstTokens.push(time - event.job.arrival);
    } else {
      const { arrival, lease } = event.job;
      latencies.push(time - arrival);
      lease.target.busy--;
      const waiting = lease.target.waiting.shift();
      if (waiting !== undefined) start(lease.target, waiting);
      lease.end("served");
      if (scenario.clients !== undefined) schedule(0);
    }
  }
  const busy = replicas.map(({ busySeconds }) => busySeconds);
  return {
    firstToken: [quantile(firstTokens, 0.5), quantile(firstTokens, 0.99)],
    latency: [quantile(latencies, 0.5), quantile(latencies, 0.99)],
    imbalance: Math.max(...busy) / (busy.reduce((sum, seconds) => sum + seconds, 0) / busy.length),
    hitRate: sharedTokens === 0 ? 0 : hitTokens / sharedTokens,
    throughput: latencies.length / time,
  };
}

function requestOf(scenario: Scenario, group: number, output: number): RoutedRequest {
  return {
    tokens: scenario.sharedTokens + scenario.ownTokens + output,
    stream: true,
    session: `group ${group}`,
    prefix: scenario.sharedTokens === 0 ? [] : [group],
  };
}
