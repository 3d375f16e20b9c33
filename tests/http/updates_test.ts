/** Weights change while requests flow: real servers, real weights, and every token of every answer is known. */
import { assertEquals, assertMatch } from "@std/assert";
import { totalMemory } from "../../src/engine/host_resources.ts";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import { type CliOutcome, runCli } from "../run_cli.ts";
import { damagedWeights, greedyAnswer, otherWeights } from "../weight_versions.ts";
import { childrenOf } from "./processes.ts";
import { eventually, metric, metrics, type ServeProcess, startServe } from "./serve_process.ts";
import { type GoldenAnswers, MAX_TOKENS, PROMPTS, UpdateLoad } from "./update_load.ts";

const FIRST = new URL("../fixtures/golden/llama", import.meta.url).pathname;
const ARGS = ["--model", FIRST, "--threads", "1", "--max-model-len", "64"];

/** Keys and values of 16 tokens in f32: 4 layers, 4 heads of 8 elements in room for 16. */
const BYTES_PER_BLOCK = 16 * 2 * 4 * 4 * 16 * 4;

/** Greedy answers of each folder, computed here, by the version that it is given. */
async function answersOf(...folders: string[]): Promise<GoldenAnswers> {
  const answers = new Map<string, readonly (readonly number[])[]>();
  for (const model of folders) {
    await using engine = await LlmEngine.load({ model, text: null, threads: 1, maxModelLen: 64 });
    const all = PROMPTS.map((promptTokenIds) =>
      greedyAnswer(engine, { promptTokenIds, maxTokens: MAX_TOKENS })
    );
    const tokens = (await Promise.all(all)).map(({ tokenIds }) => tokenIds);
    answers.set(engine.weights.current.version, tokens);
  }
  return answers;
}

/** Runs `weft update`. */
function update(
  server: ServeProcess,
  args: readonly string[],
  onLine?: (line: string) => void,
): Promise<CliOutcome> {
  return runCli(["update", "--url", server.url, ...args], onLine);
}

/** Versions that the replicas name as theirs. */
async function served(server: ServeProcess): Promise<string[]> {
  const versions: string[] = [];
  for (const line of (await metrics(server.url)).split("\n")) {
    const version = /^weft:weight_version\{.*version="([^"]*)".*\} 1$/.exec(line)?.[1];
    if (version !== undefined) versions.push(version);
  }
  return versions;
}

async function health(server: ServeProcess): Promise<{ readonly status: string }> {
  return await (await fetch(`${server.url}/health`)).json();
}

/** Both replicas serve, and serve `version`. */
async function assertServed(server: ServeProcess, version: string): Promise<void> {
  const { status } = await health(server);
  assertEquals([status, ...await served(server)], ["ok", version, version]);
}

Deno.test("two replicas are updated while requests flow", async (test) => {
  using second = otherWeights(FIRST, 1);
  using third = otherWeights(FIRST, 2);
  using truncated = damagedWeights(FIRST, "truncated");
  using architecture = damagedWeights(FIRST, "architecture");
  const golden = await answersOf(FIRST, second.folder, third.folder);
  const [v1, v2, v3] = golden.keys();
  await using server = await startServe(...ARGS, "--data-parallel-size", "2");

  const canary = ["--share", "0.3", "--duration", "0", "--max-latency-ratio", "100"];
  const strategies = [
    { strategy: "rolling", model: second.folder, versions: [v1, v2], args: [] },
    { strategy: "blue-green", model: third.folder, versions: [v2, v3], args: [] },
    { strategy: "canary", model: FIRST, versions: [v3, v1], args: canary },
    { strategy: "synchronous", model: second.folder, versions: [v1, v2], args: [] },
  ];
  for (const { strategy, model, versions, args } of strategies) {
    await test.step(`${strategy}: 1,000 requests, each answered by one version`, async () => {
      const load = new UpdateLoad(server.url, { golden, clients: 16, streams: true });
      await load.reach(200);
      const all = ["--strategy", strategy, "--model", model, ...args];
      const { status, log } = await update(server, all);
      await load.reach(Math.max(1000, load.answers + 160));
      await load.stop();
      assertEquals([status, log, load.failures], [0, "", []]);
      assertEquals(load.versions.size, 16, "every client kept its connection");
      for (const seen of load.versions.values()) {
        if (strategy !== "canary") assertEquals(seen, versions, "versions never go back");
        assertEquals(seen.at(-1), versions[1]);
      }
      await assertServed(server, versions[1]);
    });
  }

  const wrong = [
    { args: ["--model", truncated.folder], message: /model\.safetensors/ },
    { args: ["--model", architecture.folder], message: /architecture|model_type/ },
    { args: ["--model", third.folder, "--sha256", "0".repeat(64)], message: /sha-?256|hash/i },
    { args: ["--model", `${third.folder}/none`], message: /none/ },
  ];
  await test.step("what is wrong with weights is found before they serve", async () => {
    const load = new UpdateLoad(server.url, { golden, clients: 4, streams: true });
    await load.reach(40);
    for (const [index, { args, message }] of wrong.entries()) {
      const { strategy } = strategies[index];
      const { status, log } = await update(server, ["--strategy", strategy, ...args]);
      assertEquals(status, 1);
      assertMatch(log, /the update failed at [01]: Cannot update [01]: /);
      assertMatch(log, message);
      await assertServed(server, v2);
    }
    await load.stop();
    assertEquals([load.failures, [...load.versions.values()]], [[], Array(4).fill([v2])]);
  });

  await test.step("a replica is killed in the middle: nothing is lost, all get the old weights", async () => {
    const load = new UpdateLoad(server.url, { golden, clients: 4, streams: false });
    // The second replica dies as it loads, then the first one, which has the new weights by then.
    for (const victim of [1, 0]) {
      const pid = childrenOf(server.pid).toSorted((a, b) => a - b)[victim];
      const args = ["--strategy", "rolling", "--model", third.folder];
      const { status, log } = await update(server, args, (line) => {
        if (line === `1: loads ${third.folder}`) Deno.kill(pid, "SIGKILL");
      });
      assertEquals(status, 1);
      assertMatch(log, new RegExp(`the update failed at ${victim}: `));
      await eventually(async () => (await health(server)).status === "ok", {
        what: "both replicas serve",
        timeoutMs: 30_000,
      });
      await assertServed(server, v2);
    }
    await load.reach(load.answers + 50);
    await load.stop();
    assertEquals(load.failures, []);
  });

  await test.step("a stop signal calls an update off: what waits is answered", async () => {
    const args = ["--strategy", "synchronous", "--model", third.folder];
    const waitAndStop = async (): Promise<unknown[]> => {
      const load = new UpdateLoad(server.url, { golden, clients: 4, streams: false });
      const answered = load.stop(); // each has sent one request
      await eventually(
        async () => metric(await metrics(server.url), "weft:router_queued_requests") === 4,
        { what: "four requests wait" },
      );
      const status = await server.stop("SIGTERM");
      await answered;
      return [status, load.answers, load.failures, [...load.versions.values()]];
    };
    let stopped: Promise<unknown[]> | null = null;
    const { status } = await update(server, args, (line) => {
      if (line === `0: loads ${third.folder}`) stopped = waitAndStop();
    });
    assertEquals(status, 1);
    assertEquals(await stopped, [0, 4, [], Array(4).fill([v2])]);
  });
});

Deno.test("one server: what does not fit beside its weights can still replace them", async () => {
  using second = otherWeights(FIRST, 1);
  const golden = await answersOf(FIRST, second.folder);
  const [v1, v2] = golden.keys();
  // A cache of more than half the memory; the kernel gives its pages when they are written.
  const blocks = Math.ceil(0.55 * totalMemory() / BYTES_PER_BLOCK);
  await using server = await startServe(...ARGS, "--num-kv-blocks", String(blocks));
  const args = ["--strategy", "blue-green", "--model", second.folder];
  const { status, log } = await update(server, args);
  assertEquals(status, 1);
  assertMatch(log, /Cannot hold a second set of weights/);
  const load = new UpdateLoad(server.url, { golden, clients: 4, streams: true });
  await load.reach(20);
  const replaced = await update(server, ["--strategy=synchronous", "--model", second.folder]);
  await load.reach(load.answers + 20);
  await load.stop();
  assertEquals([replaced.status, replaced.log, load.failures], [0, "", []]);
  assertEquals([...load.versions.values()], Array(4).fill([v1, v2]));
});
