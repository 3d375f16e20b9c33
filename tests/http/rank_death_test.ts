/** A rank process killed in the middle of a step: its engine ends, its clients are told, the rest goes on. */
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { childrenOf, isRunning } from "./processes.ts";
import { eventually, metric, metrics, type ServeProcess, startServe } from "./serve_process.ts";
import { readEvents, type Streamed } from "./sse.ts";

async function stream(server: ServeProcess, seed: number, maxTokens = 300): Promise<Streamed> {
  const response = await fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      prompt: "The KV cache",
      max_tokens: maxTokens,
      ignore_eos: true,
      temperature: 1,
      seed,
      stream: true,
    }),
  });
  if (response.status !== 200) {
    const error = await response.json();
    return { events: [error], done: false };
  }
  return await readEvents(response);
}

// deno-lint-ignore no-explicit-any
async function health(server: ServeProcess): Promise<{ status: number; body: any }> {
  const response = await fetch(`${server.url}/health`);
  return { status: response.status, body: await response.json() };
}

Deno.test("rank death: clients get an error event, the other replica goes on, a new one comes, no orphan stays", async () => {
  await using server = await startServe(
    ...["--data-parallel-size", "2", "--tensor-parallel-size", "2", "--launcher", "process"],
  );
  const replicas = childrenOf(server.pid);
  const ranks = replicas.flatMap(childrenOf);
  assertEquals([replicas.length, ranks.length], [2, 4]);
  assertEquals((await health(server)).body.status, "ok");
  const streams = Array.from({ length: 16 }, (_, seed) => stream(server, seed));
  const tokens = async (): Promise<number> =>
    metric(await metrics(server.url), "vllm:generation_tokens_total", 'engine="0"');
  await eventually(async () => await tokens() > 100, { what: "its streams have begun" });
  Deno.kill(ranks[0], "SIGKILL");
  await eventually(async () => (await health(server)).body.status === "degraded", {
    what: "health says degraded",
  });
  const { status, body } = await health(server);
  assertEquals([status, body.engines.length], [200, 2]);
  const results = await Promise.all(streams);
  const failed = results.filter(({ done }) => !done);
  const finished = results.filter(({ done }) => done);
  assertGreater(failed.length, 0);
  assertGreater(finished.length, 0);
  for (const { events } of failed) assert(events.at(-1).error.message, "ends with an error event");
  for (const { events } of finished) assertEquals(events.at(-1).choices[0].finish_reason, "length");
  assert((await stream(server, 99, 8)).done, "a replica serves");

  await eventually(async () => (await health(server)).body.status === "ok", {
    what: "the dead replica is back",
    timeoutMs: 60_000,
  });
  assertEquals(ranks.filter(isRunning).length, 2, "the dead engine's other rank has ended too");
  const all = childrenOf(server.pid).flatMap((pid) => [pid, ...childrenOf(pid)]);
  assertEquals(all.length, 6);
  assertEquals(await server.stop(), 0);
  await eventually(() => !all.some(isRunning), { what: "no process is left" });
});

Deno.test("rank death: without a replica that is alive the answer is a 503", async () => {
  await using server = await startServe("--tensor-parallel-size", "2", "--launcher", "process");
  const ranks = childrenOf(server.pid);
  Deno.kill(ranks[0], "SIGKILL");
  await eventually(async () => (await health(server)).status === 503, { what: "health says 503" });
  const refused = await fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: "x" }),
  });
  assertEquals(refused.status, 503);
  assert((await refused.json()).error.message);
  assertEquals(await server.stop(), 0);
  await eventually(() => !ranks.some(isRunning), { what: "no rank process is left" });
});

Deno.test("rank processes end when the server is killed", async () => {
  await using server = await startServe("--tensor-parallel-size", "2", "--launcher", "process");
  const ranks = childrenOf(server.pid);
  assertEquals(ranks.length, 2);
  const busy = stream(server, 1).catch(() => null);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await server.stop("SIGKILL");
  await busy;
  await eventually(() => !ranks.some(isRunning), {
    what: "no rank process is left",
    timeoutMs: 5000,
  });
});

Deno.test("a rank process that hangs does not keep the server from stopping", async () => {
  await using server = await startServe("--tensor-parallel-size", "2", "--launcher", "process");
  const ranks = childrenOf(server.pid);
  Deno.kill(ranks[1], "SIGSTOP");
  const cancel = new AbortController();
  const busy = fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: "x", max_tokens: 5 }),
    signal: cancel.signal,
  }).catch(() => null);
  await eventually(async () => (await health(server)).body.engines[0].running === 1, {
    what: "the request runs",
  });
  cancel.abort();
  await busy;
  const stopped = performance.now();
  assertEquals(await server.stop(), 0);
  assertLess(performance.now() - stopped, 10_000);
  await eventually(() => !ranks.some(isRunning), { what: "no rank process is left" });
});
