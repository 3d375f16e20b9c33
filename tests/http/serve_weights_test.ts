/** A real `weft serve` whose weights are changed over HTTP while it answers. */
import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { damagedWeights, otherWeights } from "../weight_versions.ts";
import { eventually, metric, metrics, startServe } from "./serve_process.ts";
import { readEvents } from "./sse.ts";
import type { Json } from "./test_server.ts";

const DEMO = new URL("../../models/demo", import.meta.url).pathname;

Deno.test("serve: weights change under way, and every answer comes from one version", async () => {
  using two = otherWeights(DEMO);
  using damaged = damagedWeights(DEMO, "tokenizer");
  await using server = await startServe("--admin-api-key", "root", "--max-num-seqs", "2");
  const admin = async (path: string, body?: object): Promise<[status: number, answer: Json]> => {
    const response = await fetch(`${server.url}/admin/${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: { "authorization": "Bearer root", "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    return [response.status, await response.json()];
  };
  const post = (extra: object = {}, signal?: AbortSignal): Promise<Response> =>
    fetch(`${server.url}/v1/completions`, {
      method: "POST",
      signal,
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        prompt: "The KV cache",
        max_tokens: 24,
        ignore_eos: true,
        temperature: 0,
        return_token_ids: true,
        ...extra,
      }),
    });
  const answer = async (extra: object = {}): Promise<Json> => await (await post(extra)).json();
  const denied = await fetch(`${server.url}/admin/weights`);
  assertEquals([denied.status, (await denied.json()).error.code], [401, "invalid_api_key"]);

  const [, { current, ...others }] = await admin("weights");
  assertEquals(others, { paused: null, prepared: null, previous: null });
  const first = await answer();
  assertMatch(first.weight_version, /^[0-9a-f]{12}$/);
  assertEquals(current.version, first.weight_version);

  const stream = await post({ max_tokens: 400, stream: true });
  const source = { model: two.folder, version: "two" };
  assertEquals(await admin("weights/prepare", source), [200, {
    ...others,
    current,
    prepared: source,
  }]);
  const prompts = [first.choices[0].prompt_token_ids];
  const check = { prompts, max_tokens: 24 };
  const [, { outputs: [checked] }] = await admin("weights/check", { set: "prepared", ...check });
  assertEquals((await admin("weights/activate", {}))[1].current, source);
  const second = await answer();
  assertEquals([second.weight_version, second.choices[0].token_ids], ["two", checked]);
  assertNotEquals(checked, first.choices[0].token_ids);
  assertNotEquals(second.system_fingerprint, first.system_fingerprint);
  const { events, done } = await readEvents(stream);
  assert(done);
  assertEquals(stream.headers.get("x-weft-weight-version"), current.version);
  assertEquals([...new Set(events.map((event) => event.weight_version))], [current.version]);
  const streamed: number[] = events.flatMap(({ choices }) => choices[0].token_ids);
  assertEquals(streamed.slice(0, 24), first.choices[0].token_ids);

  assertEquals((await admin("weights/revert", {}))[1].current, current);
  assertEquals((await answer()).choices, first.choices);
  const [busy, { error: conflict }] = await admin("weights/prepare", source);
  assertEquals([busy, conflict.code], [409, "weights_conflict"]);
  assertEquals(await admin("weights/release", {}), [200, { ...others, current }]);
  const [bad, { error: invalid }] = await admin("weights/prepare", { model: damaged.folder });
  assertEquals([bad, invalid.code], [400, "invalid_weights"]);

  assertEquals((await admin("pause", { mode: "hold" }))[1].paused, "hold");
  const waiting = answer();
  const leaving = new AbortController();
  const left = post({ stream: true }, leaving.signal).then(() => "answered", () => "gone");
  const waits = (count: number): Promise<void> =>
    eventually(
      async () => metric(await metrics(server.url), "vllm:num_requests_waiting") === count,
      { what: `${count} requests wait` },
    );
  await waits(2);
  leaving.abort();
  assertEquals(await left, "gone", "no headers before the weights are known");
  await waits(1);
  const health = await (await fetch(`${server.url}/health`)).json();
  assertEquals([health.status, health.weight_version], ["ok", current.version]);
  assertEquals((await admin("resume", {}))[1].paused, null);
  assertEquals((await waiting).choices, first.choices);

  // The last prompts are still in the queue when the update begins.
  const many = await post({ prompt: Array(6).fill(prompts[0]), max_tokens: 200, stream: true });
  const updated = admin("weights/update", source);
  const together = await readEvents(many);
  assert(together.done, JSON.stringify(together.events.at(-1)));
  assertEquals([...new Set(together.events.map((e) => e.weight_version))], [current.version]);
  assertEquals(await updated, [200, { ...others, current: source }]);
  assertEquals((await answer()).choices, second.choices);
  const text = await metrics(server.url);
  assertMatch(text, /^weft:weight_version\{model_name="demo",version="two"\} 1$/m);
  assertEquals(await server.stop(), 0);
});
