/** The verbs that change weights, over sets without a model: what fails, dies or comes at once. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import fc from "fast-check";
import { WeightsError } from "../../../src/engine/weights.ts";
import { FakeLoader, FakeRequest, settled } from "./_fake_weight_set.ts";

Deno.test("when new weights do not load, the old ones are loaded again, and what waited is served by them", async () => {
  const loader = new FakeLoader();
  await using sets = loader.start();
  const [begun, queued] = [new FakeRequest(sets, 2), new FakeRequest(sets, 1)];
  await settled();
  begun.step();
  const updating = assertRejects(() => sets.update({ model: "second" }), WeightsError, "not load");
  await settled();
  assertEquals([begun.state, queued.state, loader.loading], ["running", "waiting", false]);
  begun.step();
  await settled();
  assertEquals([begun.state, queued.state, loader.alive.size], ["served", "waiting", 0]);
  loader.settle(false);
  await settled();
  assertEquals(sets.failure, null);
  loader.settle(true);
  await updating;
  queued.step();
  assertEquals(queued.tokens.map((set) => set.weights.version), ["first"]);
  assertEquals(sets.status.current.version, "first");
});

Deno.test("when the old weights do not load again either, the engine is dead and says why", async () => {
  const loader = new FakeLoader();
  await using sets = loader.start();
  const updating = assertRejects(() => sets.update({ model: "second" }), WeightsError);
  await settled();
  const waiting = new FakeRequest(sets, 1);
  loader.settle(false);
  await settled();
  loader.settle(false);
  const error = await updating;
  assertEquals((error as WeightsError).reason, "failed");
  assertMatch(error.message, /second did not load.*first did not load/);
  await settled();
  assertEquals(waiting.state, "lost");
  await assertRejects(() => sets.prepare({ model: "second" }), WeightsError, "start another");
});

Deno.test("the engine dies with its current weights, whatever is under way; others are dropped", async () => {
  const loader = new FakeLoader();
  await using sets = loader.start();
  const preparing = sets.prepare({ model: "second" });
  await settled();
  loader.settle(true);
  await preparing;
  const [prepared] = [...loader.alive].filter(({ weights }) => weights.version === "second");
  prepared.die("killed");
  await settled();
  assertEquals([sets.status.prepared, sets.failure, prepared.disposed], [null, null, true]);

  const again = assertRejects(() => sets.prepare({ model: "third" }), WeightsError, "killed too");
  await settled();
  sets.current.die("killed too");
  loader.settle(true);
  await again;
  assertEquals(sets.failure, "killed too");
  assertEquals([...loader.alive].map(({ weights }) => weights.version), ["first"]);
});

Deno.test("old weights are released when the last request on them has ended, and meanwhile nothing else is changed", async () => {
  const loader = new FakeLoader();
  await using sets = loader.start();
  const old = new FakeRequest(sets, 2);
  const preparing = sets.prepare({ model: "second" });
  await settled();
  loader.settle(true);
  await preparing;
  sets.activate();
  const releasing = sets.release();
  await assertRejects(() => sets.prepare({ model: "third" }), WeightsError, "release weights now");
  await sets.gate.pause("hold");
  await settled();
  for (let i = 0; i < 2; i++) old.step();
  await releasing;
  assertEquals([old.state, loader.alive.size, sets.status.current.version], [
    "served",
    1,
    "second",
  ]);
});

Deno.test("requests that are held end on the old weights when those are to go", async () => {
  const loader = new FakeLoader();
  await using sets = loader.start();
  const [begun, other] = [new FakeRequest(sets, 2), new FakeRequest(sets, 1)];
  await settled();
  begun.step();
  await sets.gate.pause("hold");
  begun.step();
  assertEquals(begun.tokens.length, 1);
  const updating = sets.update({ model: "second" });
  await settled();
  begun.step();
  await settled();
  loader.settle(true);
  await updating;
  assertEquals([begun.state, other.state], ["served", "waiting"]);
  sets.gate.resume();
  await settled();
  other.step();
  assertEquals(other.tokens.map((set) => set.weights.version), ["second"]);
});

const version = fc.constantFrom("second", "third", "bad");

/** What happens to an engine, at random. */
const event = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("request" as const),
      tokens: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 18, arbitrary: fc.constant({ kind: "step" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "leave" as const }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("pause" as const),
      mode: fc.constantFrom("finish" as const, "abort" as const, "hold" as const),
    }),
  },
  { weight: 6, arbitrary: fc.constant({ kind: "resume" as const }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("prepare" as const), model: version }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("update" as const), model: version }) },
  {
    weight: 6,
    arbitrary: fc.constantFrom(...(["activate", "revert"] as const).map((kind) => ({ kind }))),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "release" as const }) },
  {
    weight: 15,
    arbitrary: fc.record({ kind: fc.constant("load" as const), succeeds: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "death" as const }) },
);

Deno.test("whatever happens in whatever order, every request is answered by one set, and none is forgotten", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 60, size: "max" }), async (events) => {
      const loader = new FakeLoader();
      const sets = loader.start();
      const requests: { readonly request: FakeRequest; readonly leaves: AbortController }[] = [];
      const verbs: Promise<unknown>[] = [];
      const verb = (run: () => Promise<unknown> | unknown) =>
        verbs.push(Promise.try(run).catch((error) => assert(error instanceof WeightsError, error)));
      const step = () => requests.forEach(({ request }) => request.step());
      for (const event of events) {
        switch (event.kind) {
          case "request": {
            const leaves = new AbortController();
            requests.push({ request: new FakeRequest(sets, event.tokens, leaves.signal), leaves });
            break;
          }
          case "step":
            step();
            break;
          case "leave":
            requests.find(({ request }) => request.state === "waiting")?.leaves.abort();
            break;
          case "pause":
            if (sets.failure === null) verb(() => sets.gate.pause(event.mode));
            break;
          case "resume":
            sets.gate.resume();
            break;
          case "prepare":
          case "update":
            verb(() => sets[event.kind]({ model: event.model }));
            break;
          case "activate":
          case "revert":
          case "release":
            verb(() => sets[event.kind]());
            break;
          case "load":
            loader.settle(event.succeeds);
            break;
          case "death":
            [...loader.alive].at(-1)?.die("killed");
            break;
        }
        await settled();
        assert(loader.alive.size <= 2);
        if (sets.gate.paused === "finish" || sets.gate.paused === "abort") {
          assert(!sets.current.held);
        }
      }
      sets.gate.resume();
      for (let i = 0; i < 40; i++) {
        loader.settle(true);
        await settled();
        step();
      }
      await settled();
      for (const { request, leaves } of requests) {
        assert(new Set(request.tokens).size <= 1, "two sets");
        const { state, lostBy } = request;
        if (state === "served") assertEquals(request.tokens.length, request.wanted);
        else if (state === "lost") {
          assert(lostBy === "killed" || sets.failure !== null, `${lostBy}`);
        } else assertEquals(state, "aborted");
        if (leaves.signal.aborted) assertEquals([state, request.tokens.length], ["aborted", 0]);
      }
      await Promise.all(verbs);
      await sets[Symbol.asyncDispose]();
      assertEquals(loader.alive.size, 0);
    }),
    { numRuns: 300 },
  );
});
