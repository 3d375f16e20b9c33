/** What a client sees of the prefix cache: usage, opt-outs, metrics. */
import { assert, assertEquals } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import { goldenFolder } from "../golden/golden_case.ts";
import { metric } from "./serve_process.ts";
import { eventsOf, testApp } from "./test_server.ts";

const COMPLETIONS = "/v1/completions";

/** Token ids that nothing before has begun with; 3 blocks and a token. */
function prompt(own: number): number[] {
  return Array.from({ length: 49 }, (_, i) => 2 + (own * 7 + i) % 200);
}

Deno.test("usage and metrics tell what the prefix cache had, and requests may keep out of it", async () => {
  const model = goldenFolder("llama");
  await using replica = await LlmEngine.load({ model, device: "cpu", threads: 1, text: null });
  const { app, json, post } = testApp({}, { replica });
  const cached = async (body: Record<string, unknown>): Promise<number> => {
    const { usage } = await json(COMPLETIONS, { temperature: 0, max_tokens: 4, ...body });
    return usage.prompt_tokens_details.cached_tokens;
  };
  assertEquals([await cached({ prompt: prompt(0) }), await cached({ prompt: prompt(0) })], [0, 48]);
  // Prompts of one request count together.
  assertEquals(await cached({ prompt: [prompt(0), prompt(0).slice(0, 20), prompt(1)] }), 48 + 16);
  assertEquals(await cached({ prompt: prompt(0), cache_prompt: false }), 0);
  assertEquals(await cached({ prompt: prompt(0), echo: true, logprobs: 0 }), 0);
  assertEquals(await cached({ prompt: prompt(0), cache_salt: "mine" }), 0);
  assertEquals(await cached({ prompt: prompt(0), cache_salt: "mine", cache_prompt: true }), 48);
  assertEquals(await cached({ prompt: prompt(2), cache_prompt: false }), 0);
  assertEquals(await cached({ prompt: prompt(2), cache_salt: null, cache_prompt: null }), 0);
  const body = { prompt: prompt(2), stream: true, stream_options: { include_usage: true } };
  const events = eventsOf(await (await post(COMPLETIONS, body)).text());
  const last = JSON.parse(events.at(-2)!);
  assertEquals(last.usage.prompt_tokens_details, { cached_tokens: 48 });
  const text = await (await app.request("/metrics")).text();
  assertEquals(metric(text, "vllm:prefix_cache_hits_total"), 48 + 64 + 48 + 48);
  assertEquals(metric(text, "vllm:prefix_cache_queries_total"), 49 * 8 + 20);
  assert(metric(text, "vllm:kv_cache_usage_perc") < 0.01, "cached blocks count as used");
});
