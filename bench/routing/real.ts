/**
 * Compares the balancing policies on real servers, and measures what two of them do beside one:
 *
 *     deno run -A bench/routing/real.ts [--replicas 2] [--runs N] [--requests N] [--preset NAME]
 *
 * Servers are `weft serve` with one thread each and random weights of a real shape. Each policy gets the same requests
 * in each run, and policies take turns, each with a cache of prompts in which others left nothing. Latencies of all
 * runs are pooled; the imbalance is that of the tokens which the servers computed, the highest over the mean.
 * Efficiency is that of `weft run-batch --measure-scaling`: one server answers a share alone, then both answer as much
 * each.
 *
 * A machine needs a core for each replica, and some of another for the router and the clients.
 */
import { parseArgs } from "node:util";
import {
  BALANCING_POLICY_NAMES,
  type BalancingPolicyName,
} from "../../src/routing/policies/mod.ts";
import { type Proxy, startWeftRoute } from "./proxies.ts";
import { quantile } from "./quantile.ts";
import { readCounters, type ServerCounters, startFleet } from "./real_fleet.ts";
import { drawRequests, loadReal, type RealLatency } from "./real_load.ts";

/** Clients for each server. */
const CLIENTS = 4;

/** Requests for each server and run that warm it up. */
const WARM_UP = 4;

/** Requests that a server has at once while scaling is measured, and requests of that batch. */
const BATCH_CONCURRENCY = 32;
const BATCH_REQUESTS = 2 + 3 * 4 * BATCH_CONCURRENCY;

interface PolicyFigures {
  readonly latencies: RealLatency[];
  readonly imbalances: number[];
  /** Share of prompt tokens that were cached; null where servers have no cache of prefixes. */
  readonly hitRates: (number | null)[];
  readonly perSecond: number[];
}

async function measurePolicy(
  policy: BalancingPolicyName,
  { servers, requests, figures }: {
    readonly servers: readonly Proxy[];
    readonly requests: number;
    readonly figures: PolicyFigures;
  },
): Promise<void> {
  const ports = servers.map(({ port }) => port);
  const load = { clients: CLIENTS * servers.length, salt: crypto.randomUUID() };
  await using router = await startWeftRoute(ports, policy);
  await loadReal(router.port, { ...load, requests: drawRequests(WARM_UP * servers.length, 1) });
  const before = await Promise.all(ports.map(readCounters));
  const result = await loadReal(router.port, { ...load, requests: drawRequests(requests, 2) });
  const after = await Promise.all(ports.map(readCounters));
  figures.latencies.push(...result.latencies);
  figures.perSecond.push(requests / result.seconds);
  const tokens = after.map((counters, i) => counters.tokens - before[i].tokens);
  figures.imbalances.push(Math.max(...tokens) / (sum(tokens) / tokens.length));
  figures.hitRates.push(hitRate(before, after));
}

function hitRate(
  before: readonly ServerCounters[],
  after: readonly ServerCounters[],
): number | null {
  const counts = after.map(({ prefix }, i) => {
    const earlier = before[i].prefix;
    return prefix && earlier && [prefix.found - earlier.found, prefix.asked - earlier.asked];
  });
  if (counts.some((count) => count === null)) return null;
  return sum(counts.map((count) => count![0])) / sum(counts.map((count) => count![1]));
}

/** Runs a batch over two servers; resolves with what it says of their scaling. */
async function measureScaling(
  servers: readonly Proxy[],
  folder: string,
): Promise<{ readonly alone: number; readonly together: number; readonly efficiency: number }> {
  const [input, output] = [`${folder}/in.jsonl`, `${folder}/out.jsonl`];
  const lines = drawRequests(BATCH_REQUESTS, 3).map(({ prompt, maxTokens }, i) =>
    JSON.stringify({
      custom_id: String(i),
      method: "POST",
      url: "/v1/completions",
      body: {
        prompt,
        max_tokens: maxTokens,
        temperature: 0,
        ignore_eos: true,
        cache_prompt: false,
      },
    })
  );
  await Deno.writeTextFile(input, lines.join("\n"));
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", new URL("../../mod.ts", import.meta.url).pathname, "run-batch"],
      ...["--input", input, "--output", output, "--json", "--measure-scaling"],
      ...["--max-concurrency", String(BATCH_CONCURRENCY)],
      ...servers.slice(0, 2).flatMap(({ port }) => ["--replica", `http://127.0.0.1:${port}`]),
    ],
    stdin: "null",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error("Cannot measure scaling as the batch failed");
  await Deno.remove(output);
  const summary = JSON.parse(new TextDecoder().decode(stdout));
  return {
    alone: summary.tokens_per_second_of_one_alone,
    together: summary.tokens_per_second_of_all,
    efficiency: summary.scaling_efficiency,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function rowOf(
  policy: string,
  { latencies, imbalances, hitRates, perSecond }: PolicyFigures,
): string {
  const pair = (read: (latency: RealLatency) => number): string =>
    [0.5, 0.99].map((share) => quantile(latencies.map(read), share).toFixed(2)).join(" / ");
  const [rate] = hitRates;
  const hits = rate === null ? "no cache" : `${Math.round(100 * rate)} %`;
  return `| ${policy} | ${pair(({ firstToken }) => firstToken)} s | ${
    pair(({ whole }) => whole)
  } s | ` +
    `${quantile(imbalances, 0.5).toFixed(2)} | ${hits} | ${quantile(perSecond, 0.5).toFixed(1)} |`;
}

const { values } = parseArgs({
  options: {
    replicas: { type: "string", default: "2" },
    runs: { type: "string", default: "3" },
    requests: { type: "string", default: "96" },
    preset: { type: "string", default: "smollm-135m" },
  },
});
const [replicas, runs, requests] = [values.replicas, values.runs, values.requests].map(Number);
if (!(replicas >= 2)) {
  throw new RangeError(`Cannot compare policies on ${values.replicas} replicas`);
}
const folder = await Deno.makeTempDir({ prefix: "weft-routing-" });
await using processes = new AsyncDisposableStack();
processes.defer(() => Deno.remove(folder, { recursive: true }));
const servers = await startFleet(replicas, { preset: values.preset, folder });
for (const server of servers) processes.use(server);
const figures = new Map(
  BALANCING_POLICY_NAMES.map((policy): [BalancingPolicyName, PolicyFigures] => [
    policy,
    { latencies: [], imbalances: [], hitRates: [], perSecond: [] },
  ]),
);
const scaling: Awaited<ReturnType<typeof measureScaling>>[] = [];
for (let run = 0; run < runs; run++) {
  for (const [policy, own] of figures) {
    await measurePolicy(policy, { servers, requests, figures: own });
  }
  scaling.push(await measureScaling(servers, folder));
}
console.log(
  `${replicas} replicas of ${values.preset}, one thread each, ${CLIENTS * replicas} clients, ` +
    `${runs} x ${requests} requests\n`,
);
console.log("| policy | TTFT p50 / p99 | latency p50 / p99 | imbalance | prefix hits | req/s |");
console.log("|---|---|---|---|---|---|");
for (const [policy, own] of figures) console.log(rowOf(policy, own));
const median = (read: (figures: typeof scaling[number]) => number): number =>
  quantile(scaling.map(read), 0.5);
console.log(
  `\none replica alone: ${median(({ alone }) => alone).toFixed(1)} tokens/s, two: ` +
    `${median(({ together }) => together).toFixed(1)}, efficiency ` +
    `${median(({ efficiency }) => efficiency).toFixed(3)} ` +
    `(runs: ${scaling.map(({ efficiency }) => efficiency.toFixed(3)).join(", ")})`,
);
