/** `/admin/updates` and `weft update`, over servers whose weights only say that they changed. */
import { Agent } from "node:http";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { WeightsError } from "../../src/engine/weights.ts";
import { ModelUpdateManager } from "../../src/routing/updates/model_update_manager.ts";
import { RequestGate } from "../../src/serving/request_gate.ts";
import { listenRouter } from "../../src/serving/router/listen_router.ts";
import { RouterServer } from "../../src/serving/router/router_server.ts";
import { EngineFleet } from "../../src/serving/updates/engine_fleet.ts";
import { type CliOutcome, runCli } from "../run_cli.ts";
import { FakeReplica } from "./fake_replica.ts";
import { FakeUpstream } from "./fake_upstream.ts";
import { FakeWeights } from "./fake_weights.ts";
import { eventsOf, type Json, postJson, testServer } from "./test_server.ts";
import { post } from "./update_load.ts";

/** A server whose weights can change. */
async function startWeft(options: { adminApiKey?: string } = {}) {
  const replica = new FakeReplica();
  const weights = new FakeWeights(replica);
  const server = await testServer({}, { replica, weights, ...options });
  return { ...server, weights };
}

/** A router over servers. */
async function startRouter(urls: readonly string[], apiKey?: string) {
  const gate = new RequestGate();
  const commits: unknown[] = [];
  const router = new RouterServer({
    gate,
    slowStartMs: 0,
    onCommit: (weights) => commits.push(weights),
  });
  for (const [index, url] of urls.entries()) await router.join(url, { id: `r${index}`, apiKey });
  const listener = listenRouter({ router, gate, port: 0 });
  return {
    url: listener.url,
    router,
    commits,
    async [Symbol.asyncDispose]() {
      await router.endUpdates();
      await listener.shutdown(0);
      router[Symbol.dispose]();
    },
  };
}

/** Runs `weft update`. */
function update(url: string, ...args: string[]): Promise<CliOutcome> {
  return runCli(["update", "--url", url, ...args]);
}

async function get(url: string): Promise<Json> {
  return await (await fetch(url)).json();
}

const NEW = ["--model", "/models/new", "--weight-version", "v2"];

const CANARY = ["--share", "0.5", "--duration", "0", "--min-requests", "0"];

for (const strategy of ["synchronous", "rolling", "blue-green", "canary"]) {
  Deno.test(`weft update --strategy ${strategy}: all replicas serve the new weights`, async () => {
    await using first = await startWeft();
    await using second = await startWeft();
    await using router = await startRouter([first.url, second.url]);
    const args = [...NEW, "--strategy", strategy, ...strategy === "canary" ? CANARY : []];
    const { status, out, log } = await update(router.url, ...args);
    assertEquals([status, log], [0, ""]);
    assertMatch(out, /^r1: .*\/models\/new/m);
    assertMatch(out, /^weft updated: all replicas serve v2$/m);
    const [listed] = (await get(`${router.url}/admin/updates`)).updates;
    const { events, ...details } = await get(`${router.url}/admin/updates/${listed.id}`);
    assertEquals(details, listed);
    assertEquals([listed.strategy, listed.state, listed.error], [strategy, "succeeded", null]);
    const stream = await fetch(`${router.url}/admin/updates/${listed.id}/events`);
    const streamed = eventsOf(await stream.text());
    assertEquals(streamed.at(-1), "[DONE]");
    assertEquals(
      streamed.slice(0, -1).map((event) => JSON.parse(event).message),
      events.slice(0, streamed.length - 1).map(({ message }: Json) => message),
    );
    await router.router.endUpdates();
    for (const { weights } of [first, second]) {
      assertEquals(weights.weights, {
        paused: null,
        current: { version: "v2", model: "/models/new" },
        prepared: null,
        previous: null,
      });
    }
    assertEquals(router.commits, [{ model: "/models/new", sha256: undefined, version: "v2" }]);
    assertEquals((await get(`${router.url}/health`)).status, "ok");
  });

  Deno.test(`weft update --strategy ${strategy}: the first failure brings the old weights back`, async () => {
    await using first = await startWeft();
    await using second = await startWeft();
    await using router = await startRouter([first.url, second.url]);
    const { weights } = second;
    for (const verb of ["updateWeights", "prepareWeights"] as const) {
      const load = weights[verb].bind(weights);
      weights[verb] = (folder) => {
        if (folder.model !== "/models/new") return load(folder);
        const message = "Cannot load the weights as they need 9 GiB: free are 2 GiB";
        return Promise.reject(new WeightsError(message, { reason: "memory" }));
      };
    }
    const args = [...NEW, "--strategy", strategy, ...strategy === "canary" ? CANARY : []];
    const { status, log } = await update(router.url, ...args);
    assertEquals(status, 1);
    assertMatch(log, /the update failed at r1: Cannot update r1: .* need 9 GiB: free are 2 GiB$/m);
    for (const server of [first, second]) {
      const { current, prepared, previous } = server.weights.weights;
      assertEquals([current.model, prepared, previous], ["/models/one", null, null]);
    }
    assertEquals(router.router.replicas.map(({ serves }) => serves), [true, true]);
  });
}

Deno.test("golden prompts are asked before replicas serve", async () => {
  await using server = await startWeft();
  await using router = await startRouter([server.url]);
  const file = await Deno.makeTempFile({ suffix: ".jsonl" });
  try {
    const golden = ["--strategy", "synchronous", ...NEW, "--golden", file];
    await Deno.writeTextFile(file, '{"prompt":[5],"expected":[5,7]}\n\n{"prompt":[9,8]}\n');
    assertEquals((await update(router.url, ...golden)).status, 0);
    const checks = server.weights.calls.filter(([verb]) => verb === "check");
    assertEquals(checks, [["check", "current", [[5]], 2], ["check", "current", [[9, 8]], 16]]);

    await Deno.writeTextFile(file, '{"prompt":[5],"expected":[6]}\n');
    const wrong = await update(
      ...[router.url, "--golden", file, "--strategy", "blue-green", "--model", "/models/third"],
    );
    assertEquals(wrong.status, 1);
    assertMatch(wrong.log, /golden prompt 1 is answered otherwise by r0: expected 6, got 5 7$/m);
    assertEquals(server.weights.weights.current.version, "v2");

    await Deno.writeTextFile(file, '{"prompt":[5]}\n{"prompt":[5],"answer":[6]}\n');
    const unknown = await update(router.url, ...golden);
    assertEquals(unknown.status, 1);
    assertMatch(unknown.log, /line 2 of .*\.jsonl: the field is unknown: answer/);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("a replica that is no weft is refused by name, and so is one with another key", async () => {
  await using server = await startWeft();
  await using stranger = new FakeUpstream("vLLM");
  await using mixed = await startRouter([server.url, stranger.url]);
  const refused = await update(mixed.url, ...NEW);
  assertEquals([refused.status, refused.out], [1, ""]);
  assertMatch(refused.log, /Cannot update r1 as it is no weft server with weights that can change/);
  await using guarded = await startWeft({ adminApiKey: "secret" });
  await using wrong = await startRouter([server.url, guarded.url], "another");
  const { status, log } = await update(wrong.url, ...NEW);
  assertEquals(status, 1);
  assertMatch(log, /Cannot update r1 as it asks for another key: 401/);
  assertEquals(server.weights.calls, []);

  await using right = await startRouter([guarded.url], "secret");
  const updated = await update(right.url, ...NEW, "--strategy", "synchronous");
  assertEquals([updated.status, updated.log], [0, ""]);
  await using own = await startWeft({ adminApiKey: "secret" });
  const keyed = await update(own.url, ...NEW, "--strategy=synchronous", "--admin-api-key=secret");
  assertEquals([keyed.status, keyed.log], [0, ""]);
});

Deno.test("a single server is updated in place or beside, and refuses what needs two", async () => {
  await using server = await startWeft();
  const rolling = await update(server.url, ...NEW);
  assertEquals(rolling.status, 1);
  assertMatch(rolling.log, /by the strategy rolling as it needs 2 replicas: current value is 1/);
  const canary = await update(server.url, ...NEW, "--strategy", "canary");
  assertMatch(canary.log, /by the strategy canary as it needs 2 replicas/);
  const there = await update(server.url, ...NEW, "--strategy", "synchronous");
  assertEquals([there.status, server.weights.weights.current.version], [0, "v2"]);
  const kept = ["--strategy", "blue-green", "--keep", "1000"];
  const beside = await update(server.url, ...kept, "--model", "/models/third");
  assertEquals([beside.status, server.weights.weights.previous?.version], [0, "v2"]);
  const back = await update(server.url, "--revert");
  assertEquals([back.status, back.log], [0, ""]);
  const { current, prepared, previous, paused } = server.weights.weights;
  assertEquals([current.version, prepared, previous, paused], ["v2", null, null, null]);
  const again = await update(server.url, "--revert");
  assertEquals(again.status, 1);
  assertMatch(again.log, /no update keeps the old weights/);
});

Deno.test("wrong updates are refused by the field, and wrong command lines by the flag", async () => {
  await using server = await startWeft();
  const ask = async (body: object): Promise<unknown[]> => {
    const response = await postJson(`${server.url}/admin/updates`, body);
    const { error } = await response.json();
    return [response.status, error.param, error.code];
  };
  const body = { strategy: "synchronous", model: "/models/new" };
  assertEquals(await ask({ model: "/x" }), [400, "strategy", null]);
  assertEquals(await ask({ ...body, share: 0.1 }), [400, "share", "unknown_field"]);
  assertEquals(await ask({ ...body, sha256: "12" }), [400, "sha256", null]);
  assertEquals(await ask({ ...body, golden: [{ prompt: [] }] }), [400, "golden[0].prompt", null]);
  assertEquals(await ask({ ...body, model: "/models/one" }), [400, null, "update_refused"]);
  for (const path of ["x", "x/events", "x/cancel", "x/revert"]) {
    const method = /cancel|revert/.test(path) ? "POST" : "GET";
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${server.url}/admin/updates/${path}`, { method, headers });
    assertEquals([response.status, (await response.json()).error.code], [404, "update_not_found"]);
  }
  const flags = await update(server.url, ...NEW, "--share", "0.1");
  assertEquals(flags.status, 2);
  assertMatch(flags.log, /Cannot use --share with the strategy rolling: it belongs to canary/);
  assertMatch((await update(server.url)).log, /Cannot update without weights: --model DIR/);
  assertEquals(server.weights.calls, []);
});

Deno.test("while a rolling update is under way a connection gets answers of one version", async () => {
  await using first = await startWeft();
  await using second = await startWeft();
  await using third = await startWeft();
  await using router = await startRouter([first.url, second.url, third.url]);
  const { promise: loading, resolve: begun } = Promise.withResolvers<void>();
  const { promise: go, resolve: loaded } = Promise.withResolvers<void>();
  const load = second.weights.updateWeights.bind(second.weights);
  second.weights.updateWeights = async (folder) => {
    begun();
    await go;
    return await load(folder);
  };
  const updated = update(router.url, ...NEW);
  await loading;
  // The first one has new weights, the second one loads, the third one has old ones.
  const body = JSON.stringify({ prompt: [1], max_tokens: 1 });
  const agents = Array.from({ length: 6 }, () => new Agent({ keepAlive: true, maxSockets: 1 }));
  const ask = async (agent: Agent): Promise<string> => {
    const { version, connection } = await post(router.url, { agent, body });
    return `${connection} ${version}`;
  };
  const before = await Promise.all(agents.map(ask));
  for (let turn = 0; turn < 5; turn++) {
    assertEquals(await Promise.all(agents.map(ask)), before);
  }
  loaded();
  assertEquals((await updated).status, 0);
  const after = await Promise.all(agents.map(ask));
  assertEquals(after, before.map((seen) => seen.replace(/\S+$/, "v2")));
  for (const agent of agents) agent.destroy();
});

Deno.test("an update is cancelled before its next step; a second one must wait", async () => {
  await using first = await startWeft();
  await using second = await startWeft();
  await using router = await startRouter([first.url, second.url]);
  const { promise: loading, resolve: begun } = Promise.withResolvers<void>();
  const { promise: go, resolve: loaded } = Promise.withResolvers<void>();
  const load = first.weights.updateWeights.bind(first.weights);
  first.weights.updateWeights = async (folder) => {
    begun();
    await go;
    return await load(folder);
  };
  const body = { strategy: "rolling", model: "/models/new" };
  const { id } = await (await postJson(`${router.url}/admin/updates`, body)).json();
  await loading;
  const busy = await postJson(`${router.url}/admin/updates`, body);
  assertEquals([busy.status, (await busy.json()).error.code], [409, "update_conflict"]);
  const early = await postJson(`${router.url}/admin/updates/${id}/revert`, {});
  assertEquals(early.status, 409);
  await early.body?.cancel();
  const cancelled = await postJson(`${router.url}/admin/updates/${id}/cancel`, {});
  assertEquals([cancelled.status, (await cancelled.json()).state], [202, "running"]);
  loaded();
  await (await fetch(`${router.url}/admin/updates/${id}/events`)).text();
  assertEquals((await get(`${router.url}/admin/updates/${id}`)).state, "cancelled");
  assertEquals(first.weights.weights.current.model, "/models/one");
  assertEquals(second.weights.calls, [], "it had not begun there");
  const late = await postJson(`${router.url}/admin/updates/${id}/cancel`, {});
  assertEquals(late.status, 409);
  await late.body?.cancel();
  assert(router.router.replicas.every(({ serves }) => serves));
});

Deno.test("a server that stops calls its update off, so that requests go on which that let wait", async () => {
  const replica = new FakeReplica();
  const weights = new FakeWeights(replica);
  const pause = weights.pause.bind(weights);
  weights.pause = async (mode) => {
    await pause(mode);
    await new Promise(() => {}); // A request runs for long.
  };
  const updates = new ModelUpdateManager(new EngineFleet(weights));
  await using server = await testServer({}, { replica, weights, updates });
  const body = { strategy: "synchronous", model: "/models/new" };
  const { id } = await (await postJson(`${server.url}/admin/updates`, body)).json();
  assertEquals(weights.weights.paused, "finish");
  await updates[Symbol.asyncDispose]();
  assertEquals(weights.weights.paused, null);
  assertEquals((await get(`${server.url}/admin/updates/${id}`)).state, "cancelled");
  const late = await postJson(`${server.url}/admin/updates`, body);
  assertEquals(late.status, 409);
  await late.body?.cancel();
});

Deno.test("weft update goes on when its connection is lost, and tells each event once", async () => {
  await using first = await startWeft();
  await using second = await startWeft();
  await using router = await startRouter([first.url, second.url]);
  let cuts = 0;
  await using proxy = Deno.serve({ port: 0, onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const response = await fetch(router.url + pathname, request);
    if (!pathname.endsWith("/events") || cuts === 2) return response;
    cuts++;
    const reader = response.body!.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    return new Response(value, { headers: response.headers });
  });
  const url = `http://127.0.0.1:${proxy.addr.port}`;
  const { status, out, log } = await update(url, ...NEW, "--strategy", "synchronous");
  assertEquals([status, log, cuts], [0, "", 2]);
  const [{ id }] = (await get(`${router.url}/admin/updates`)).updates;
  const { events } = await get(`${router.url}/admin/updates/${id}`);
  const told = out.trimEnd().split("\n").slice(0, -1);
  assertEquals(
    told,
    events.slice(0, told.length).map(({ replica, message }: Json) =>
      `${replica ?? "all"}: ${message}`
    ),
  );
});
