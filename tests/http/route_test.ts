/** `weft route` over real servers: one is killed, one is stopped, and nothing that had not started is lost. */
import { assert, assertEquals } from "@std/assert";
import { eventually, type ServeProcess, startRoute, startServe } from "./serve_process.ts";
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
async function streamed(server: ServeProcess): Promise<string | null> {
  const response = await post(server, { stream: true });
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

async function states(router: ServeProcess): Promise<string> {
  const { replicas } = await (await fetch(`${router.url}/health`)).json();
  return replicas.map(({ state }: { state: string }) => state).join(" ");
}

Deno.test("a replica is killed under load, another stopped: nothing that had not started is lost", async () => {
  const args = ["--threads", "1", "--max-model-len", "256"];
  await using first = await startServe(...args);
  await using second = await startServe(...args);
  await using third = await startServe(...args);
  const replicas = [first, second, third];
  await using router = await startRoute(
    ...replicas.flatMap(({ url }) => ["--replica", url]),
    ...["--probe-interval", "1"],
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

  const stopped = load();
  await new Promise((resolve) => setTimeout(resolve, 60));
  Deno.kill(second.pid, "SIGSTOP");
  try {
    const { wholes } = await Promise.race([
      Promise.all(Array.from({ length: 6 }, () => whole(router))).then((wholes) => ({ wholes })),
      new Promise<never>((_, reject) => setTimeout(() => reject(new Error("stuck")), 20_000)),
    ]);
    assertEquals(wholes, wholes.map(() => text));
    await eventually(async () => (await states(router)).split(" ")[1] === "down", {
      what: "the stopped one is known to be down",
    });
  } finally {
    Deno.kill(second.pid, "SIGCONT");
  }
  await stopped;
  await eventually(async () => !(await states(router)).split(" ")[1].startsWith("down"), {
    what: "it is back",
  });
  assertEquals(await whole(router), text);
  assertEquals(await router.stop("SIGTERM"), 0);
});
