/** `weft route` over real servers: one is killed, one is stopped, the router ends, and nothing that had not started is lost. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  eventually,
  metric,
  metrics,
  type ServeProcess,
  startRoute,
  startServe,
} from "./serve_process.ts";
import { readEvents } from "./sse.ts";

const REQUEST = {
  prompt: "The KV cache",
  max_tokens: 60,
  ignore_eos: true,
  temperature: 0,
};

function post(server: ServeProcess, body: object): Promise<Response> {
  return fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...REQUEST, ...body }),
  });
}

async function whole(server: ServeProcess): Promise<string> {
  const response = await post(server, {});
  const body = await response.json();
  assertEquals(response.status, 200, JSON.stringify(body));
  return body.choices[0].text;
}

/** The text, or null when the stream ended with an error event; anything else throws. */
async function streamed(server: ServeProcess, body: object = {}): Promise<string | null> {
  const response = await post(server, { ...body, stream: true });
  if (response.status !== 200) throw new Error(await response.text());
  const { events, done } = await readEvents(response);
  // deno-lint-ignore no-explicit-any
  const all = events as any[];
  if (!done) {
    assertEquals(all.at(-1).error.code, "replica_lost");
    return null;
  }
  return all.map(({ choices }) => choices[0].text).join("");
}

interface ReplicaState {
  readonly state: string;
  readonly active: number;
  readonly ejection: string | null;
}

async function replicasOf(router: ServeProcess): Promise<ReplicaState[]> {
  return (await (await fetch(`${router.url}/health`)).json()).replicas;
}

Deno.test("replicas die and stop under load, and the router ends under load: nothing that had not started is lost", async () => {
  const args = ["--threads", "1", "--max-model-len", "256"];
  await using first = await startServe(...args);
  await using second = await startServe(...args);
  await using third = await startServe(...args);
  const replicas = [first, second, third].flatMap(({ url }) => ["--replica", url]);
  await using router = await startRoute(
    ...replicas,
    ...["--balancing-policy", "round-robin", "--probe-interval", "60"],
  );
  const text = await whole(router);
  const load = (): Promise<{ wholes: string[]; streams: (string | null)[] }> =>
    Promise.all([
      Promise.all(Array.from({ length: 9 }, () => whole(router))),
      Promise.all(Array.from({ length: 9 }, () => streamed(router))),
    ]).then(([wholes, streams]) => ({ wholes, streams }));

  const killed = load();
  await new Promise((resolve) => setTimeout(resolve, 60));
  Deno.kill(first.pid, "SIGKILL");
  const { wholes, streams } = await killed;
  assertEquals(wholes, wholes.map(() => text));
  for (const answer of streams) assert(answer === null || answer === text);
  assert(streams.filter((answer) => answer === null).length <= 6, "others' streams went on");

  for (let turn = 0; turn < 16; turn++) await streamed(router, { max_tokens: 1 });
  const stopped = load();
  await new Promise((resolve) => setTimeout(resolve, 60));
  Deno.kill(second.pid, "SIGSTOP");
  try {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error("stuck")), 30_000);
    const others = await Promise.race([load(), late.promise]);
    clearTimeout(timer);
    assertEquals(others.wholes, others.wholes.map(() => text));
    assertEquals(others.streams, others.streams.map(() => text));
    const [, { ejection }] = await replicasOf(router);
    assertMatch(ejection!, /^silent for \d+ ms with requests waiting$/, "no probe has told");
  } finally {
    Deno.kill(second.pid, "SIGCONT");
  }
  const resumed = await stopped;
  assertEquals(resumed.wholes, resumed.wholes.map(() => text));
  assertEquals(resumed.streams, resumed.streams.map(() => text), "what had begun goes on");
  await eventually(async () => {
    assertEquals(await whole(router), text);
    return ["starting", "healthy"].includes((await replicasOf(router))[1].state);
  }, { what: "it is back" });
  assertEquals(await router.stop("SIGTERM"), 0);

  await using last = await startRoute(...replicas.slice(2), "--max-concurrency", "2");
  const asked = Array.from({ length: 12 }, (_, i) => i % 2 ? whole(last) : streamed(last));
  await eventually(async () => metric(await metrics(last.url), "weft:router_queued_requests") > 0, {
    what: "some run, and others wait",
  });
  const ended = last.stop("SIGTERM");
  for (let refused = false; !refused;) {
    // Where nothing listens any more there is no answer at all: as good.
    const answer = await post(last, {}).then((response) => response.json()).catch(() => null);
    refused = answer === null || answer.error?.code === "draining";
    if (!refused) assertEquals(answer.choices[0].text, text, "the signal was still to come");
  }
  assertEquals(await Promise.all(asked), asked.map(() => text));
  assertEquals(await ended, 0);
});
