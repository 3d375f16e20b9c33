/** Who is served first, as a client asks for it. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import { goldenFolder } from "../golden/golden_case.ts";
import { startServe } from "./serve_process.ts";
import { eventsOf, testApp } from "./test_server.ts";

const options = { model: goldenFolder("llama"), device: "cpu", threads: 1, text: null } as const;

Deno.test("the lower priority is served first, and none but 0 is taken where the policy is not priority", async () => {
  const body = (priority: number | null, max_tokens = 8) => ({
    prompt: [5, 9, 2],
    ...{ priority, max_tokens, ignore_eos: true, temperature: 0 },
  });
  {
    await using replica = await LlmEngine.load({
      ...options,
      maxNumSeqs: 1,
      schedulingPolicy: "priority",
    });
    const { json } = testApp({}, { replica });
    const ended: number[] = [];
    // The first one runs by the time the others are there.
    await Promise.all([0, 9, -3, 4, 9].map(async (priority, i) => {
      await json("/v1/completions", body(priority, i === 0 ? 100 : 8));
      ended.push(i);
    }));
    assertEquals(ended, [0, 2, 3, 1, 4]);
  }
  await using replica = await LlmEngine.load(options);
  const { json, post } = testApp({}, { replica });
  for (const priority of [0, null]) {
    assertEquals((await json("/v1/completions", body(priority))).usage.completion_tokens, 8);
  }
  const refused = await post("/v1/completions", body(1));
  const { error } = await refused.json();
  assertEquals([refused.status, error.param], [400, "priority"]);
  assertStringIncludes(error.message, "first come, first served: current value is 1");
});

Deno.test("a request that waits past its X-Request-Timeout ends with 504, and one that has begun goes on", async () => {
  await using replica = await LlmEngine.load({ ...options, maxNumSeqs: 1 });
  const { post } = testApp({}, { replica });
  const body = { prompt: [5, 9, 2], max_tokens: 120, ignore_eos: true, stream: true };
  const refused = await post("/v1/completions", body, { "x-request-timeout": "0.001e" });
  assertEquals((await refused.json()).error.param, "X-Request-Timeout");
  const first = await post("/v1/completions", body, { "x-request-timeout": "5" });
  assertEquals(first.status, 200);
  const late = await post("/v1/completions", body, { "x-request-timeout": "0.001" });
  const { error } = await late.json();
  assertEquals([late.status, error.code], [504, "deadline_exceeded"]);
  assertStringIncludes(error.message, "X-Request-Timeout: 0.001");
  assertEquals(eventsOf(await first.text()).at(-1), "[DONE]");
  // Nothing is left of it.
  const after = await post("/v1/completions", { ...body, stream: false }, {
    "x-request-timeout": "60",
  });
  assertEquals((await after.json()).usage.completion_tokens, 120);
  assertEquals(replica.stats.waiting, 0);
});

Deno.test("values of X-Request-Timeout that are no seconds are refused", async () => {
  const { post, replica } = testApp();
  for (const value of ["0", "-1", "1s", "Infinity", "1e3", "2147484", " ", "0x10"]) {
    const response = await post("/v1/completions", { prompt: "a" }, { "x-request-timeout": value });
    assertEquals([value, response.status], [value, 400]);
  }
  assertEquals(replica.requests.length, 0);
});

Deno.test("serve: beyond --max-requests the answer is 429, with the time to come again", async () => {
  await using server = await startServe("--max-requests", "1");
  const post = (max_tokens: number) =>
    fetch(`${server.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: [5], max_tokens, ignore_eos: true, stream: true }),
    });
  const running = await post(500);
  const refused = await post(1);
  assertEquals([refused.status, refused.headers.get("retry-after")], [429, "1"]);
  assertEquals((await refused.json()).error.code, "queue_full");
  await running.body!.cancel();
});
