import { assert, assertEquals } from "@std/assert";
import { mergeMetrics } from "../../src/serving/fleet/merge_metrics.ts";
import { FakeReplica } from "./fake_replica.ts";
import { FakeWeights } from "./fake_weights.ts";
import { testApp } from "./test_server.ts";

const COMPLETIONS = "/v1/completions";

/** Series of a metrics text by name and labels. */
function seriesOf(text: string): Map<string, number> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => {
    const at = line.lastIndexOf(" ");
    return [line.slice(0, at), Number(line.slice(at + 1))];
  }));
}

/** The text of an app that has answered a request of two choices for each of two prompts. */
async function scrape(): Promise<string> {
  const replica = new FakeReplica({ says: "abc", queuesFor: 0.25 });
  const { app, json } = testApp({}, { replica, weights: new FakeWeights(replica) });
  await json(COMPLETIONS, { prompt: [[1, 2], [3]], n: 2, max_tokens: 30 });
  return await (await app.request("/metrics")).text();
}

Deno.test("requests are counted in vLLM's histograms", async () => {
  const series = seriesOf(await scrape());
  const labels = '{model_name="fake",engine="0"}';
  const count = (name: string) => series.get(`vllm:${name}_count${labels}`);
  const sum = (name: string) => series.get(`vllm:${name}_sum${labels}`)!;
  assertEquals(count("time_to_first_token_seconds"), 4);
  assertEquals(count("inter_token_latency_seconds"), 4 * 3, "four tokens each");
  assertEquals(count("e2e_request_latency_seconds"), 4);
  assertEquals([count("request_prompt_tokens"), sum("request_prompt_tokens")], [4, 2 * (2 + 1)]);
  assertEquals([count("request_generation_tokens"), sum("request_generation_tokens")], [4, 16]);
  assertEquals(sum("request_prefill_kv_computed_tokens"), 6);
  assertEquals(sum("request_params_max_tokens"), 4 * 30);
  assertEquals([count("request_params_n"), sum("request_params_n")], [1, 2]);
  assertEquals(sum("request_max_num_generation_tokens"), 4);
  assertEquals(count("request_time_per_output_token_seconds"), 4);
  assertEquals(series.get(`vllm:request_prompt_tokens_bucket{le="1",${labels.slice(1)}`), 2);
  for (const name of ["queue", "prefill", "decode", "inference"]) {
    assertEquals(count(`request_${name}_time_seconds`), 4);
  }
  const whole = sum("request_queue_time_seconds") + sum("request_prefill_time_seconds") +
    sum("request_decode_time_seconds");
  assert(Math.abs(whole - sum("e2e_request_latency_seconds")) < 1e-9, "the parts make the whole");
  assertEquals(count("time_per_output_token_seconds"), count("inter_token_latency_seconds"));
  const cache = '{model_name="fake",engine="0",block_size="16",num_gpu_blocks="20"}';
  assertEquals(series.get(`vllm:cache_config_info${cache}`), 1);
});

Deno.test("a request that was cancelled is no latency", async () => {
  const gone = new AbortController();
  const { app, replica } = testApp({ says: "x".repeat(50), delayMs: 5 });
  const response = app.request(COMPLETIONS, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: [1], max_tokens: 50 }),
    signal: gone.signal,
  });
  while (replica.chunks === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  gone.abort();
  await (await response).body?.cancel();
  const series = seriesOf(await (await app.request("/metrics")).text());
  const of = (name: string) => [...series].filter(([key]) => key.startsWith(name));
  assertEquals(of("vllm:request_success_total").map(([, value]) => value), [1]);
  assertEquals(of("vllm:e2e_request_latency_seconds_count").length, 0);
});

Deno.test("several engines' histograms stand together under their numbers", async () => {
  const text = await scrape();
  const one = seriesOf(text);
  const merged = mergeMetrics(["3", "4"].map((engine) => ({ engine, text })));
  const all = seriesOf(merged);
  for (const [key, value] of one) {
    for (const engine of ["3", "4"]) {
      const named = key.includes('engine="0"')
        ? key.replace('engine="0"', `engine="${engine}"`)
        : key.replace(/\}$/, `,engine="${engine}"}`);
      assertEquals(all.get(named), value, named);
    }
  }
  assertEquals(all.size, 2 * one.size);
  const types = merged.split("\n").filter((line) => line.startsWith("# TYPE "));
  assertEquals(new Set(types).size, types.length, "a type is told once");
});

Deno.test("the Grafana dashboard asks for nothing but metrics that exist, with labels that they have", async () => {
  const text = await scrape();
  const file = new URL("../../docs/grafana_dashboard.json", import.meta.url);
  const { panels, templating } = JSON.parse(await Deno.readTextFile(file));
  const queries: string[] = [
    // deno-lint-ignore no-explicit-any
    ...panels.flatMap(({ targets }: any) => targets.map(({ expr }: any) => expr)),
    // deno-lint-ignore no-explicit-any
    ...templating.list.map(({ query }: any) => query.query).filter(Boolean),
  ];
  assert(queries.length > 20);
  const families = new Map<string, { type: string; labels: Set<string> }>();
  for (const [, name, type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    families.set(name, { type, labels: new Set() });
  }
  for (const key of seriesOf(text).keys()) {
    const [, name] = /^([^{]+)/.exec(key)!;
    const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ""))!;
    for (const [, label] of key.matchAll(/([a-z_]+)="/g)) family.labels.add(label);
  }
  for (const query of queries) {
    const names = [...query.matchAll(/\b(?:vllm|weft):\w+/g)].map(([name]) => name);
    assert(names.length > 0, query);
    for (const name of names) {
      const base = name.replace(/_(bucket|sum|count)$/, "");
      const family = families.get(name) ?? families.get(base);
      assert(family !== undefined, `${name} does not exist`);
      if (name !== base) assertEquals(family.type, "histogram", name);
      if (/_total$/.test(name)) assert(/\b(rate|increase)\(/.test(query), query);
      for (const [, labels] of query.matchAll(/\bby \(([^)]*)\)/g)) {
        for (const label of labels.split(", ")) {
          assert(family.labels.has(label), `${name} ${label}`);
        }
      }
    }
    assertEquals(query.split("(").length, query.split(")").length, query);
  }
});
