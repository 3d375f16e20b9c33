import { assertAlmostEquals, assertEquals } from "@std/assert";
import type { Lease } from "../../../src/routing/lease.ts";
import { ReplicaPool } from "../../../src/routing/replica_pool.ts";
import type { HttpReplica } from "../../../src/serving/router/http_replica.ts";
import { RouterMetrics } from "../../../src/serving/router/router_metrics.ts";
import { ScalingMonitor } from "../../../src/serving/router/scaling_monitor.ts";
import {
  parseTokenCounters,
  type TokenCounters,
} from "../../../src/serving/router/token_counters.ts";
import { testApp } from "../../http/test_server.ts";
import { TestClock } from "../routing/_clock.ts";

const REQUEST = { tokens: 10, stream: true, session: null, prefix: [] };

/** Replicas that compute 11 tokens in a second, or a share of that. */
class Fleet {
  readonly clock = new TestClock();
  readonly pool: ReplicaPool<string>;
  readonly monitor: ScalingMonitor<string>;
  readonly counters = new Map<string, TokenCounters | null>();

  constructor(ids: readonly string[]) {
    this.pool = new ReplicaPool({
      now: this.clock.now,
      policy: {
        name: "named",
        select: (loads, { session }) => loads.find(({ id }) => id === session)!,
      },
    });
    for (const id of ids) {
      this.pool.add(id, id);
      this.counters.set(id, { promptTokens: 0, generationTokens: 0 });
    }
    this.monitor = new ScalingMonitor(this.pool, {
      read: (id) => Promise.resolve(this.counters.get(id)!),
    });
  }

  /** `id` has a request for a while. */
  async turn(id: string, milliseconds: number): Promise<void> {
    const lease = await this.pool.acquire({ ...REQUEST, session: id });
    this.clock.pass(milliseconds);
    this.#compute(id, milliseconds / 10_000);
    lease.end("served");
  }

  #compute(id: string, share: number): void {
    const counters = this.counters.get(id)!;
    if (counters === null) return;
    this.counters.set(id, {
      promptTokens: counters.promptTokens + 10 * share,
      generationTokens: counters.generationTokens + 100 * share,
    });
  }

  /** `ids` have a request each for `windows` of ten seconds, at `share` of what they do alone. */
  async run(ids: readonly string[], { windows, share }: { windows: number; share: number }) {
    const leases: Lease<string>[] = ids.map((id) =>
      this.pool.tryAcquire({ ...REQUEST, session: id })!
    );
    await this.monitor.sample();
    for (let i = 0; i < windows; i++) {
      this.clock.pass(10_000);
      for (const id of ids) this.#compute(id, share);
      await this.monitor.sample();
    }
    for (const lease of leases) lease.end("served");
  }
}

Deno.test("the monitor compares windows of one busy replica with those of several", async () => {
  const fleet = new Fleet(["a", "b", "c"]);
  for (const id of ["a", "b", "c"]) await fleet.run([id], { windows: 2, share: 1 });
  assertEquals(fleet.monitor.known.size, 0);
  await fleet.run(["a", "c"], { windows: 2, share: 0.9 });
  await fleet.run(["a", "b", "c"], { windows: 2, share: 0.8 });
  assertEquals([...fleet.monitor.known.keys()], [2, 3]);
  assertAlmostEquals(fleet.monitor.known.get(2)!, 0.9, 1e-4);
  assertAlmostEquals(fleet.monitor.known.get(3)!, 0.8, 1e-4);
  fleet.pool.remove("b");
  await fleet.monitor.sample();
  assertEquals(fleet.monitor.known.size, 0, "another fleet");
});

Deno.test("a replica learns what it does alone though others have requests in turn with it", async () => {
  const fleet = new Fleet(["a", "b"]);
  await fleet.monitor.sample();
  for (let i = 0; i < 20; i++) {
    for (const id of ["a", "b"]) await fleet.turn(id, 500);
    if (i % 4 === 3) await fleet.monitor.sample();
  }
  await fleet.run(["a", "b"], { windows: 2, share: 0.8 });
  assertAlmostEquals(fleet.monitor.known.get(2)!, 0.8, 1e-4);
});

Deno.test("replicas without counters, or started again, say nothing", async () => {
  for (const counters of [null, { promptTokens: -1000, generationTokens: -1000 }]) {
    const fleet = new Fleet(["a", "b"]);
    for (const id of ["a", "b"]) await fleet.run([id], { windows: 2, share: 1 });
    const leases = ["a", "b"].map((id) => fleet.pool.tryAcquire({ ...REQUEST, session: id })!);
    await fleet.monitor.sample();
    fleet.clock.pass(60_000);
    for (const id of ["a", "b"]) fleet.counters.set(id, counters);
    await fleet.monitor.sample();
    assertEquals(fleet.monitor.known.size, 0);
    for (const lease of leases) lease.end("served");
  }
});

Deno.test("a replica that is down does not hide what the others do", async () => {
  const fleet = new Fleet(["a", "b", "c"]);
  fleet.counters.set("c", null);
  fleet.pool.setDown("c", "gone");
  for (const id of ["a", "b"]) await fleet.run([id], { windows: 2, share: 1 });
  await fleet.run(["a", "b"], { windows: 2, share: 0.7 });
  assertAlmostEquals(fleet.monitor.known.get(2)!, 0.7, 1e-4);
});

Deno.test("metrics tell what is known, and nothing while it is not", async () => {
  const known = new Map<number, number>();
  const metrics = new RouterMetrics(new ReplicaPool<HttpReplica>(), { known });
  const lines = async (): Promise<string[]> =>
    (await metrics.text()).split("\n").filter((line) => line.startsWith("weft:scaling"));
  assertEquals(await lines(), []);
  known.set(2, 0.93);
  assertEquals(await lines(), ['weft:scaling_efficiency{replicas="2"} 0.93']);
});

Deno.test("counters are those of weft, vLLM and llama-server, summed over engines", async () => {
  const { app, json } = testApp({ says: "Hi" });
  await json("/v1/completions", { prompt: [1, 2, 3] });
  const text = await (await app.request("/metrics")).text();
  assertEquals(parseTokenCounters(text), { promptTokens: 0, generationTokens: 3 });
  assertEquals(
    parseTokenCounters(
      `# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
vllm:prompt_tokens_total{engine="0",model_name="m {x}"} 31.0
vllm:prompt_tokens_total{engine="1",model_name="m {x}"} 1.1e+01
vllm:prompt_tokens_created{engine="0",model_name="m {x}"} 1.7e+09
vllm:generation_tokens_total{engine="0",model_name="m {x}"} 7.0
`,
    ),
    { promptTokens: 42, generationTokens: 7 },
  );
  assertEquals(
    parseTokenCounters("llamacpp:prompt_tokens_total 5\nllamacpp:tokens_predicted_total 6\n"),
    { promptTokens: 5, generationTokens: 6 },
  );
  assertEquals(parseTokenCounters("vllm:prompt_tokens_total 5\n"), null);
  assertEquals(parseTokenCounters("<html>"), null);
});
