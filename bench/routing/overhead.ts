/**
 * What a router adds to a request, beside nginx and HAProxy as plain proxies where they are installed:
 *
 *     deno run -A bench/routing/overhead.ts [--runs N] [--seconds S]
 *
 * Upstreams answer at once, all take turns, and a direct connection is the zero line. Where other work disturbs,
 * the processor time for a request is the figure that lasts.
 */
import { parseArgs } from "node:util";
import { loadHttp } from "./http_load.ts";
import { type Proxy, startHaproxy, startNginx, startUpstream, startWeftRoute } from "./proxies.ts";
import { quantile } from "./quantile.ts";

const CLIENTS = 16;

const { values } = parseArgs({
  options: { runs: { type: "string", default: "5" }, seconds: { type: "string", default: "3" } },
});
const [runs, seconds] = [Number(values.runs), Number(values.seconds)];
const folder = await Deno.makeTempDir({ prefix: "weft-routing-" });
await using processes = new AsyncDisposableStack();
processes.defer(() => Deno.remove(folder, { recursive: true }));
const upstreams = await Promise.all([startUpstream(), startUpstream()]);
for (const upstream of upstreams) processes.use(upstream);
const ports = upstreams.map(({ port }) => port);
const sides: Omit<Proxy, typeof Symbol.asyncDispose>[] = [{ ...upstreams[0], name: "no proxy" }];
const proxies = [
  await startWeftRoute(ports, "least-loaded"),
  await startWeftRoute(ports, "prefix-aware"),
  await startNginx(ports, folder),
  await startHaproxy(ports, folder),
];
for (const proxy of proxies) if (proxy !== null) sides.push(processes.use(proxy));
const alone: number[][] = sides.map(() => []);
const together: number[][] = sides.map(() => []);
const processor: number[][] = sides.map(() => []);
for (let run = -1; run < runs; run++) {
  for (const [side, { port, cpuSeconds }] of sides.entries()) {
    const one = await loadHttp(port, { clients: 1, seconds: run < 0 ? 1 : seconds });
    const before = cpuSeconds();
    const many = await loadHttp(port, { clients: CLIENTS, seconds: run < 0 ? 1 : seconds });
    const used = cpuSeconds() - before;
    if (run < 0) continue; // Warm-up.
    alone[side].push(quantile(one.latencies, 0.5));
    together[side].push(many.perSecond);
    processor[side].push(1e6 * used / many.latencies.length);
  }
}
const median = (samples: readonly number[]): number => quantile(samples, 0.5);
const direct = median(alone[0]);
console.log(
  `| | p50 of one client | added | requests/s of ${CLIENTS} clients | processor time a request |\n` +
    "|---|---|---|---|---|",
);
sides.forEach(({ name }, side) => {
  const latency = median(alone[side]);
  console.log(
    `| ${name} | ${latency.toFixed(3)} ms | ${(latency - direct).toFixed(3)} ms | ` +
      `${Math.round(median(together[side]))} | ${Math.round(median(processor[side]))} µs |`,
  );
});
