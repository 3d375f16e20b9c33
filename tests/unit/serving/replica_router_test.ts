import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  EngineDeadError,
  type GenerationChunk,
  UnsupportedRequestError,
} from "../../../src/engine/types.ts";
import type { BalancingPolicy, ReplicaLoad } from "../../../src/routing/balancing_policy.ts";
import { prefixHashes } from "../../../src/routing/prefix_hash.ts";
import { ReplicaRouter } from "../../../src/serving/replica_router.ts";
import { FakeReplica } from "../../http/fake_replica.ts";

const request = { promptTokenIds: [1] };
const FIRST: BalancingPolicy = { name: "first", select: (candidates) => candidates[0] };

async function textOf(chunks: AsyncIterable<GenerationChunk>): Promise<string> {
  let text = "";
  for await (const chunk of chunks) text += chunk.text;
  return text;
}

Deno.test("requests that arrive together are spread", async () => {
  const replicas = [new FakeReplica(), new FakeReplica(), new FakeReplica()];
  const router = new ReplicaRouter(replicas);
  const dispatches = Array.from({ length: 7 }, () => router.dispatch(request));
  assertEquals(dispatches.map(({ engine }) => engine), [0, 1, 2, 0, 1, 2, 0]);
  await Promise.all(dispatches.map(textOf));
  const again = Array.from({ length: 3 }, () => router.dispatch(request).engine);
  assertEquals(new Set(again).size, 3, "ended requests no longer count");
});

Deno.test("a request that is given up counts no more", async () => {
  const router = new ReplicaRouter([new FakeReplica(), new FakeReplica()]);
  const unread = router.dispatch(request);
  await unread.return?.();
  await unread.return?.();
  const first = router.dispatch(request);
  const started = router.dispatch(request);
  assertEquals(first.engine + started.engine, 1, "one each");
  for await (const _ of started) break;
  assertEquals(router.dispatch(request).engine, started.engine);
});

Deno.test("unhealthy replicas receive nothing", async () => {
  const replicas = [new FakeReplica({ says: "zero" }), new FakeReplica({ says: "one" })];
  const router = new ReplicaRouter(replicas);
  replicas[0].die("killed");
  assertEquals(await textOf(router.generate(request)), "one");
  assert(router.healthy);
  assertEquals(router.failure, null);
  replicas[1].die("lost");
  assert(!router.healthy);
  assertEquals(router.failure, "engine 0: killed; engine 1: lost");
  assertThrows(() => router.generate(request), EngineDeadError, "no engine is healthy");
});

Deno.test("a replica that dies before its first chunk is replaced, each one tried once", async () => {
  const late = new FakeReplica({ diesAfter: 0 });
  const atOnce = new FakeReplica({ refuses: new EngineDeadError("gone") });
  const good = new FakeReplica({ says: "ok" });
  const router = new ReplicaRouter([late, atOnce, good], { policy: FIRST });
  const dispatch = router.dispatch(request);
  assertEquals(dispatch.engine, 0);
  assertEquals(await textOf(dispatch), "ok");
  assertEquals(dispatch.engine, 2);
  assertEquals([late, atOnce, good].map(({ requests }) => requests.length), [1, 1, 1]);

  const hopeless = new ReplicaRouter([
    new FakeReplica({ diesAfter: 0 }),
    new FakeReplica({ diesAfter: 0 }),
  ]);
  await assertRejects(() => textOf(hopeless.generate(request)), EngineDeadError, "was killed");
});

Deno.test("an error after the first chunk, or of another kind, is passed on", async () => {
  const second = new FakeReplica();
  const dying = new ReplicaRouter([new FakeReplica({ diesAfter: 1 }), second]);
  await assertRejects(() => textOf(dying.generate(request)), EngineDeadError);
  const refusing = new ReplicaRouter([
    new FakeReplica({ failsLate: new UnsupportedRequestError("no") }),
    second,
  ]);
  await assertRejects(() => textOf(refusing.generate(request)), UnsupportedRequestError);
  assertEquals(second.requests.length, 0);
});

Deno.test("a cancelled request is not sent again", async () => {
  const cancel = new AbortController();
  const second = new FakeReplica();
  const router = new ReplicaRouter([
    new FakeReplica({ failsLate: new EngineDeadError("gone") }),
    second,
  ]);
  const chunks = router.generate({ ...request, signal: cancel.signal });
  cancel.abort();
  await assertRejects(() => textOf(chunks), EngineDeadError);
  assertEquals(second.requests.length, 0);
});

Deno.test("counters are summed, and disposing reaches every replica", async () => {
  const replicas = [new FakeReplica(), new FakeReplica()];
  replicas[0].stats = { ...replicas[0].stats, running: 1, preemptions: 5, kvBlocksFree: 3 };
  replicas[1].stats = { ...replicas[1].stats, running: 2, waiting: 4, prefixCacheHits: 9 };
  replicas[1].stats = { ...replicas[1].stats, prefixCacheQueries: 12, steps: 9 };
  const router = new ReplicaRouter(replicas);
  assertEquals(router.stats, {
    running: 3,
    waiting: 4,
    kvBlocksFree: 19,
    kvBlocksTotal: 40,
    preemptions: 5,
    prefixCacheQueries: 12,
    prefixCacheHits: 9,
    promptTokens: 0,
    generationTokens: 0,
    steps: 9,
  });
  await router[Symbol.asyncDispose]();
  assertEquals(replicas.map(({ disposed }) => disposed), [true, true]);
  assertThrows(() => new ReplicaRouter([]), RangeError);
});

Deno.test("a policy of one's own sees the healthy replicas and the request", () => {
  const seen: unknown[] = [];
  const policy: BalancingPolicy = {
    name: "last",
    select(candidates: readonly ReplicaLoad[], { tokens, session, prefix }) {
      seen.push(candidates.map(({ id }) => id), { tokens, session, prefix });
      return candidates[candidates.length - 1];
    },
  };
  const replicas = [new FakeReplica(), new FakeReplica(), new FakeReplica()];
  replicas[1].die("killed");
  const router = new ReplicaRouter(replicas, { policy });
  const promptTokenIds = Array.from({ length: 40 }, (_, i) => i);
  const asked = { promptTokenIds, sampling: { maxTokens: 9 }, session: "s" };
  assertEquals(router.dispatch(asked).engine, 2);
  const prefix = prefixHashes(promptTokenIds, 16);
  assertEquals(prefix.length, 2);
  assertEquals(seen, [["0", "2"], { tokens: 49, session: "s", prefix }]);
});
