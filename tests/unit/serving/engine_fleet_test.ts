import { assertEquals, assertRejects } from "@std/assert";
import { ModelUpdateManager } from "../../../src/routing/updates/model_update_manager.ts";
import { SynchronousStrategy } from "../../../src/routing/updates/strategies/synchronous.ts";
import { EngineFleet } from "../../../src/serving/updates/engine_fleet.ts";
import { FakeReplica } from "../../http/fake_replica.ts";
import { FakeWeights } from "../../http/fake_weights.ts";

Deno.test("an engine is paused while its requests wait, and stays so when those that run are ended", async () => {
  const weights = new FakeWeights(new FakeReplica());
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const pause = weights.pause.bind(weights);
  weights.pause = async (mode) => {
    await pause(mode);
    if (mode === "abort") end();
    await ended; // a request runs until then
  };
  await using manager = new ModelUpdateManager(new EngineFleet(weights));
  const update = await manager.start({
    strategy: new SynchronousStrategy({ graceMs: 1 }),
    source: { model: "/models/new" },
  });
  await update.ended;
  assertEquals([update.state, weights.weights.paused], ["succeeded", null]);
  const verbs = weights.calls.map(([verb, what]) => verb === "pause" ? `${verb} ${what}` : verb);
  assertEquals(verbs, ["pause finish", "pause abort", "update", "check", "resume"]);
});

Deno.test("what an engine refuses is why the update fails, and it serves on", async () => {
  const weights = new FakeWeights(new FakeReplica());
  const fleet = new EngineFleet(weights);
  await using manager = new ModelUpdateManager(fleet);
  weights.updateWeights = () => Promise.reject(new Error("no such folder"));
  const strategy = new SynchronousStrategy();
  const update = await manager.start({ strategy, source: { model: "/models/new" } });
  await update.ended;
  assertEquals([update.state, update.error?.message], ["failed", "no such folder"]);
  assertEquals(weights.weights.paused, null);
  weights.activateWeights = () => {
    throw new Error("nothing is prepared");
  };
  await assertRejects(() => fleet.replicas[0].activate(), Error, "nothing is prepared");
});
