import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  EngineDeadError,
  type GenerateRequest,
  UnsupportedRequestError,
} from "../../../../src/engine/types.ts";
import {
  type BatchProgress,
  type BatchResult,
  runBatch,
} from "../../../../src/serving/batch/run_batch.ts";
import { FakeReplica, type FakeScript } from "../../../http/fake_replica.ts";

function requests(count: number): GenerateRequest[] {
  return Array.from({ length: count }, (_, i) => ({ promptTokenIds: [i] }));
}

function texts(results: readonly BatchResult[]): string[] {
  return results.map((result) => result.error === null ? result.text : result.error.message);
}

Deno.test("every replica gets its next request when it has room, and results keep the input's order", async () => {
  const slow = new FakeReplica({ says: "s", delayMs: 4 });
  const fast = new FakeReplica({ says: "f" });
  const progress: BatchProgress[] = [];
  const results = await Array.fromAsync(
    runBatch([slow, fast], requests(40), {
      concurrency: 2,
      onProgress: (step) => progress.push(step),
    }),
  );
  assertEquals(results.map(({ index }) => index), [...Array(40).keys()]);
  for (const result of results) {
    assert(result.error === null);
    assertEquals([result.finishReason, result.weightVersion], ["stop", "fake"]);
  }
  assertEquals(results.map(({ request }) => request.promptTokenIds![0]), [...Array(40).keys()]);
  assertEquals(slow.requests.length + fast.requests.length, 40);
  assert(slow.requests.length < 20, `the slow one had ${slow.requests.length} of 40`);
  assertEquals(progress.map(({ done }) => done), [...Array(40).keys()].map((i) => i + 1));
  assertEquals(progress.at(-1), { done: 40, failed: 0, generationTokens: 80 });
});

Deno.test("the input is read as it is needed, in either order", async () => {
  for (const order of ["input", "completion"] as const) {
    let taken = 0;
    const endless = (function* () {
      while (true) yield { promptTokenIds: [taken++] };
    })();
    let given = 0;
    for await (
      const _ of runBatch(new FakeReplica(), endless, { order, concurrency: 3, maxHeld: 5 })
    ) {
      given++;
      assert(taken <= given + 8, `${taken} taken for ${given} results`);
      if (given === 50) break;
    }
  }
});

Deno.test("a request whose replica dies is run again on another, even after its first token", async () => {
  for (const script of [{ diesAfter: 0 }, { diesAfter: 2 }] satisfies FakeScript[]) {
    const dying = new FakeReplica({ says: "Hello", ...script });
    const other = new FakeReplica({ says: "Hello" });
    const results = await Array.fromAsync(runBatch([dying, other], requests(6)));
    assertEquals(texts(results), Array(6).fill("Hello"));
    assert(dying.requests.length > 0);
  }
});

Deno.test("a request that fails for itself ends itself only", async () => {
  const router = new FakeReplica({ says: "ok" });
  const generate = router.generate.bind(router);
  router.generate = (request) => {
    if (request.promptTokenIds![0] === 1) throw new UnsupportedRequestError("too long", "prompt");
    return generate(request);
  };
  const progress: BatchProgress[] = [];
  const results = await Array.fromAsync(
    runBatch(router, requests(3), { onProgress: (step) => progress.push(step) }),
  );
  assertEquals(texts(results), ["ok", "too long", "ok"]);
  assertEquals(progress.at(-1)!.failed, 1);
});

Deno.test("a replica that keeps dying in one request's hands gives it up after some tries", async () => {
  const poisoned = new FakeReplica({ breaksAfter: [1, new EngineDeadError("it broke")] });
  const [result] = await Array.fromAsync(runBatch(poisoned, requests(1), { retries: 2 }));
  assertEquals(result.error?.message, "it broke");
  assertEquals(poisoned.requests.length, 3);
});

Deno.test("without a replica the batch ends", async () => {
  const dying = [new FakeReplica({ diesAfter: 0 }), new FakeReplica({ diesAfter: 1 })];
  await assertRejects(
    () => Array.fromAsync(runBatch(dying, requests(9), { concurrency: 1 })),
    EngineDeadError,
    "was killed",
  );
});

Deno.test("a signal cancels what is under way", async () => {
  const cancel = new AbortController();
  const replica = new FakeReplica({ delayMs: 60_000 });
  const results = runBatch(replica, requests(5), { concurrency: 2, signal: cancel.signal });
  const next = results.next();
  while (replica.active < 2) await new Promise((resolve) => setTimeout(resolve, 0));
  cancel.abort(new Error("enough"));
  await assertRejects(() => next, Error, "enough");
  assertEquals([replica.requests.length, replica.active, replica.aborted], [2, 0, 2]);
});

Deno.test("a request's own signal ends that request", async () => {
  const own = new AbortController();
  own.abort();
  const [first, second] = await Array.fromAsync(
    runBatch(new FakeReplica({ says: "ok" }), [
      { promptTokenIds: [1], signal: own.signal },
      { promptTokenIds: [2] },
    ]),
  );
  assertEquals(first.error ?? first.finishReason, "abort");
  assertEquals(texts([second]), ["ok"]);
});

Deno.test("options out of range are refused", async () => {
  for (
    const options of [{ concurrency: 0 }, { concurrency: 1.5 }, { maxHeld: -1 }, { retries: -1 }]
  ) {
    await assertRejects(() => runBatch(new FakeReplica(), [], options).next(), RangeError);
  }
});
