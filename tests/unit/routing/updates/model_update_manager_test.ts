import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { UpdateError } from "../../../../src/routing/updates/errors.ts";
import type { ModelUpdate } from "../../../../src/routing/updates/model_update.ts";
import { ModelUpdateManager } from "../../../../src/routing/updates/model_update_manager.ts";
import { BlueGreenStrategy } from "../../../../src/routing/updates/strategies/blue_green.ts";
import { CanaryStrategy } from "../../../../src/routing/updates/strategies/canary.ts";
import { RollingStrategy } from "../../../../src/routing/updates/strategies/rolling.ts";
import type { UpdateStrategy } from "../../../../src/routing/updates/strategies/strategy.ts";
import { SynchronousStrategy } from "../../../../src/routing/updates/strategies/synchronous.ts";
import { type Fault, NEW, OLD, pause, SimulatedFleet } from "./_simulated_fleet.ts";

const CANARY = { share: 0.3, durationMs: 0, minRequests: 5, maxLatencyRatio: 1000 };

const STRATEGIES: Readonly<Record<string, () => UpdateStrategy>> = {
  synchronous: () => new SynchronousStrategy(),
  rolling: () => new RollingStrategy(),
  "blue-green": () => new BlueGreenStrategy(),
  canary: () => new CanaryStrategy(CANARY),
};

const SOURCE = { model: NEW.model, version: NEW.version };

/** Updates a fleet under load, and waits until nothing is left to be done. */
async function updateUnderLoad(
  fleet: SimulatedFleet,
  strategy: UpdateStrategy,
  { cancelAt = null }: { cancelAt?: number | null } = {},
): Promise<ModelUpdate> {
  const manager = new ModelUpdateManager(fleet.fleet, { retryMs: 2 });
  fleet.onCall = (call) => {
    if (call === cancelAt) manager.cancel("update-1");
  };
  fleet.load(6);
  await pause(5);
  const update = await manager.start({ strategy, source: SOURCE });
  await update.ended;
  await settled(fleet);
  await fleet.quiet();
  await manager[Symbol.asyncDispose]();
  await settled(fleet); // A replica may have died of the last call.
  return update;
}

async function settled({ replicas, pool }: SimulatedFleet): Promise<void> {
  for (let i = 0; i < 200; i++) {
    await pause(2);
    const quiet = pool.members.every(({ state }) => state === "healthy") &&
      replicas.every(({ status, alive }) => alive && (status.prepared ?? status.previous) === null);
    if (quiet) return;
  }
}

/** All replicas serve one version, nothing is left over, and replicas that die now come back with it. */
function assertOneVersion(fleet: SimulatedFleet, version: string): void {
  for (const { id, alive, paused, status } of fleet.replicas) {
    assertEquals(
      { alive, paused, ...status, current: status.current.version },
      { alive: true, paused: false, current: version, prepared: null, previous: null },
      id,
    );
  }
  assertEquals(fleet.pool.members.map(({ state }) => state), fleet.replicas.map(() => "healthy"));
  assertEquals(fleet.committed.version, version);
  assertEquals(fleet.pool.queued, 0);
}

for (const [name, strategy] of Object.entries(STRATEGIES)) {
  Deno.test(`${name}: no request fails, and all replicas have the new weights`, async () => {
    using fleet = new SimulatedFleet(3);
    const update = await updateUnderLoad(fleet, strategy());
    assertEquals([update.state, update.error, fleet.failures], ["succeeded", null, []]);
    assertOneVersion(fleet, "new");
    assertEquals(update.log.events.at(-1)?.type, "succeeded");
    const answers = fleet.versions.flat();
    assert(answers.includes("old") && answers.includes("new"));
    if (name === "canary") return;
    for (const versions of fleet.versions) {
      assertEquals(versions, versions.toSorted().reverse(), "versions never go back");
    }
  });

  Deno.test(`${name}: whatever fails at whichever step, all replicas end on one version`, async () => {
    const fault: fc.Arbitrary<Fault> = fc.record({
      // The first calls ask what replicas have: the update is refused then.
      call: fc.integer({ min: 3, max: 20 }),
      kind: fc.constantFrom("rejects", "rejects late", "dies", "dies late"),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fault, { minLength: 1, maxLength: 2 }),
        fc.integer({ min: 2, max: 3 }),
        async (faults, count) => {
          using fleet = new SimulatedFleet(count, faults);
          const update = await updateUnderLoad(fleet, strategy());
          assert(["succeeded", "failed"].includes(update.state));
          assertOneVersion(fleet, update.state === "succeeded" ? "new" : "old");
          if (faults.length === 1) assertEquals(fleet.failures, [], "others served meanwhile");
        },
      ),
      { numRuns: 30 },
    );
  });

  Deno.test(`${name}: called off at any time, the old weights serve and no request fails`, async () => {
    for (const cancelAt of [3, 5, 8]) {
      using fleet = new SimulatedFleet(3);
      const update = await updateUnderLoad(fleet, strategy(), { cancelAt });
      assertEquals([update.state, update.error?.reason], ["cancelled", "cancelled"]);
      assertEquals(fleet.failures, []);
      assertOneVersion(fleet, "old");
    }
  });

  Deno.test(`${name}: a wrong answer to a golden prompt brings the old weights back`, async () => {
    using fleet = new SimulatedFleet(2);
    await using manager = new ModelUpdateManager(fleet.fleet);
    const golden = [
      { prompt: [1, 2], maxTokens: 4, expected: [7] },
      { prompt: [3], maxTokens: 2, expected: [8, 9] },
    ];
    const update = await manager.start({ strategy: strategy(), source: SOURCE, golden });
    await update.ended;
    assertEquals(update.state, "failed");
    assertEquals(
      update.error?.message,
      "Cannot serve the weights as golden prompt 2 is answered otherwise by r0: expected 8 9, got 7",
    );
    assertOneVersion(fleet, "old");
  });

  Deno.test(`${name}: replicas that load different weights under the same path are found out`, async () => {
    using fleet = new SimulatedFleet(2);
    await using manager = new ModelUpdateManager(fleet.fleet);
    const [first, second] = fleet.replicas;
    for (const verb of ["update", "prepare"] as const) {
      const load = second[verb].bind(second);
      second[verb] = async (source) => {
        const { version } = await load(source);
        return { ...SOURCE, version: version === "old" ? version : "another" };
      };
    }
    const update = await manager.start({
      strategy: name === "canary" ? new CanaryStrategy({ ...CANARY, minRequests: 0 }) : strategy(),
      source: SOURCE,
    });
    await update.ended;
    assertEquals(update.state, "failed");
    assertEquals([first.status.current, second.status.current], [OLD, OLD]);
  });
}

Deno.test("a canary that fails requests is taken back, and so is one that is not asked often enough", async () => {
  using failing = new SimulatedFleet(3);
  failing.failing = (version) => version === "new";
  const limits = { ...CANARY, minRequests: 50, maxErrorRate: 0.02 };
  const failed = await updateUnderLoad(failing, new CanaryStrategy(limits));
  assertEquals(failed.state, "failed");
  assertMatch(failed.error!.message, /promote the new weights as (\d+) of \1 requests failed$/);
  assertEquals(failing.failures, [], "others answered what the canary failed");
  assertOneVersion(failing, "old");

  using idle = new SimulatedFleet(2);
  await using manager = new ModelUpdateManager(idle.fleet);
  const strategy = new CanaryStrategy({ ...CANARY, timeoutMs: 1 });
  const ignored = await manager.start({ strategy, source: SOURCE });
  await ignored.ended;
  assertEquals(ignored.state, "failed");
  assert(ignored.error!.message.includes("too few requests: 0 of 5"));
  assertOneVersion(idle, "old");
});

Deno.test("blue-green keeps the old weights for a switch back, and the next update frees them", async () => {
  using fleet = new SimulatedFleet(2);
  await using manager = new ModelUpdateManager(fleet.fleet);
  const keeping = (): UpdateStrategy => new BlueGreenStrategy({ keepMs: 60_000 });
  const first = await manager.start({ strategy: keeping(), source: SOURCE });
  await first.ended;
  assertEquals([first.state, first.kept], ["succeeded", true]);
  assertEquals(fleet.replicas.map(({ status }) => status.previous), [OLD, OLD]);
  fleet.calls.length = 0;
  await manager.revert(first.id);
  assertEquals([first.state, first.kept], ["reverted", false]);
  assert(!fleet.calls.includes("update"), "nothing is loaded");
  assertOneVersion(fleet, "old");
  await assertRejects(() => manager.revert(first.id), UpdateError, "not kept");

  const second = await manager.start({ strategy: keeping(), source: SOURCE });
  await second.ended;
  const third = await manager.start({
    strategy: new BlueGreenStrategy(),
    source: { model: "/models/newer" },
  });
  await third.ended;
  assertEquals([second.kept, third.state], [false, "succeeded"]);
  // What is being freed meanwhile is no obstacle.
  const fourth = await manager.start({
    strategy: new RollingStrategy(),
    source: { model: "/models/newest" },
  });
  await fourth.ended;
  assertEquals(fourth.state, "succeeded");
  assertOneVersion(fleet, "newest");
});

Deno.test("replicas start with the folder that was loaded, wherever a link to it leads by then", async () => {
  using fleet = new SimulatedFleet(2);
  await using manager = new ModelUpdateManager(fleet.fleet);
  const source = { model: "/links/new" };
  await (await manager.start({ strategy: new RollingStrategy(), source })).ended;
  assertEquals(fleet.committed, NEW);
});

Deno.test("a manager ends when the switch back under way has been made", async () => {
  using fleet = new SimulatedFleet(3);
  const manager = new ModelUpdateManager(fleet.fleet);
  const strategy = new BlueGreenStrategy({ keepMs: 60_000 });
  const update = await manager.start({ strategy, source: SOURCE });
  await update.ended;
  const reverted = manager.revert(update.id);
  await manager[Symbol.asyncDispose]();
  assertEquals(update.state, "reverted");
  assertOneVersion(fleet, "old");
  await reverted;
});

Deno.test("weights that a manager has left behind when it was killed are freed", async () => {
  using fleet = new SimulatedFleet(2);
  const [first, second] = fleet.replicas;
  first.status = { current: OLD, prepared: NEW, previous: null };
  second.status = { current: OLD, prepared: null, previous: NEW };
  await using manager = new ModelUpdateManager(fleet.fleet);
  const update = await manager.start({ strategy: new BlueGreenStrategy(), source: SOURCE });
  await update.ended;
  assertEquals(update.state, "succeeded");
  assertEquals(fleet.calls.slice(0, 4), ["weights", "weights", "release", "release"]);
  await manager[Symbol.asyncDispose]();
  assertOneVersion(fleet, "new");
});

Deno.test("requests that outlive the grace are ended, and the replica goes on", async () => {
  using fleet = new SimulatedFleet(2);
  await using manager = new ModelUpdateManager(fleet.fleet);
  const lease = fleet.pool.tryAcquire(
    { tokens: 1, stream: true, session: null, prefix: [] },
    new Set(["r1"]),
  )!;
  const { pause: paused } = fleet.replicas[0];
  fleet.replicas[0].pause = function () {
    lease.end("served");
    return paused.call(this);
  };
  const update = await manager.start({
    strategy: new RollingStrategy({ graceMs: 1 }),
    source: SOURCE,
  });
  await update.ended;
  assertEquals([update.state, fleet.replicas[0].paused], ["succeeded", false]);
  assert(fleet.calls.includes("pause"));
});

Deno.test("clients that read slowly what a replica has ended keep no update from going on", async () => {
  for (const strategy of [SynchronousStrategy, RollingStrategy]) {
    using fleet = new SimulatedFleet(2);
    await using manager = new ModelUpdateManager(fleet.fleet);
    using _unread = fleet.pool.tryAcquire({ tokens: 1, stream: true, session: null, prefix: [] });
    const update = await manager.start({ strategy: new strategy({ graceMs: 1 }), source: SOURCE });
    await update.ended;
    await manager[Symbol.asyncDispose]();
    assertEquals(update.state, "succeeded");
    assertOneVersion(fleet, "new");
  }
});

Deno.test("an update ends even if the last replica leaves while it is put back", async () => {
  using fleet = new SimulatedFleet(1);
  const [replica] = fleet.replicas;
  const weights = replica.weights.bind(replica);
  let asked = 0;
  replica.weights = () => asked++ === 0 ? weights() : Promise.reject(new Error("is gone"));
  replica.update = () => Promise.reject(new Error("is going"));
  const left = () => Promise.reject(new RangeError("Cannot find a replica of that name: r0"));
  const leaving = new Proxy(fleet.fleet, {
    get(target, key) {
      if (key === "putBack") return left;
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  await using manager = new ModelUpdateManager(leaving, { retryMs: 1 });
  const update = await manager.start({ strategy: new SynchronousStrategy(), source: SOURCE });
  await update.ended;
  assertEquals([update.state, update.error?.message], ["failed", "is going"]);
});

Deno.test("what can't be updated is refused before anything changes", async () => {
  using fleet = new SimulatedFleet(2, [{ call: 1, kind: "rejects" }]);
  await using manager = new ModelUpdateManager(fleet.fleet);
  const start = (strategy: UpdateStrategy, source = SOURCE): Promise<unknown> =>
    manager.start({ strategy, source });
  const rolling = new RollingStrategy();
  await assertRejects(() => start(rolling), UpdateError, "weights was rejected");
  await assertRejects(
    () => start(new RollingStrategy({ maxUnavailable: 2 })),
    UpdateError,
    "Cannot update by the strategy rolling as it needs 3 replicas: current value is 2",
  );
  await assertRejects(() => start(rolling, { ...OLD, version: "x" }), UpdateError, "no way back");
  await assertRejects(
    () => start(rolling, { model: "/models/x", version: "old" }),
    UpdateError,
    "old",
  );
  fleet.pool.drain("r1");
  await assertRejects(() => start(rolling), UpdateError, "does not serve: r1");
  fleet.pool.resume("r1");
  assertOneVersion(fleet, "old");
  assert(fleet.calls.every((verb) => verb === "weights"));

  const update = await manager.start({ strategy: rolling, source: SOURCE });
  await assertRejects(() => start(rolling), UpdateError, "another update runs");
  await update.ended;
  assertThrows(() => manager.cancel(update.id), UpdateError, "has ended");
});
