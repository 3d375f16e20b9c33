/** An engine's loop that stands still: what is under way ends, nothing is planned, and it goes on where it was. */
import { assert, assertEquals } from "@std/assert";
import { EngineCore } from "../../../src/engine/engine_core.ts";
import type { Executor } from "../../../src/engine/executor.ts";
import { Scheduler } from "../../../src/engine/scheduler/scheduler.ts";
import type { StepPlan, StepResult } from "../../../src/engine/step_plan.ts";
import { FakeExecutor } from "./_fake_executor.ts";
import { request, schedulerOptions } from "./_simulation.ts";

const OPTIONS = schedulerOptions({ pipelineStages: 2, lookahead: 1 });

/** Ranks that answer when the test says so. */
class SteppedExecutor implements Executor {
  readonly failed = new Promise<string>(() => {});
  readonly ranks = new FakeExecutor(OPTIONS);
  #take: (result: StepResult) => void = () => {};

  execute(plan: StepPlan): void {
    this.ranks.send(plan);
  }

  receive(take: (result: StepResult) => void): void {
    this.#take = take;
  }

  retire(): void {
    this.#take(this.ranks.retire());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** The tokens of two requests; the core is held once after so many steps. */
function run(holdAfter: number | null): number[][] {
  const executor = new SteppedExecutor();
  const events: string[] = [];
  const tokens: number[][] = [[], []];
  const core = new EngineCore(new Scheduler(OPTIONS), executor, {
    progress(outputs) {
      for (const { id, tokenIds } of outputs) tokens[Number(id)].push(...tokenIds);
      if (outputs.length > 0) events.push("outputs");
    },
    dead: (reason) => assert(false, reason),
  });
  for (const id of [0, 1]) core.add(request(id, 3 + id, { maxTokens: 10 }));
  for (let retired = 0; executor.ranks.plansInFlight > 0; retired++) {
    if (retired === holdAfter) {
      const underWay = executor.ranks.plansInFlight;
      const { steps } = executor.ranks;
      assert(underWay > 1, "several steps are under way");
      core.hold(() => events.push("held"));
      for (let i = 0; i < underWay; i++) {
        assert(!events.includes("held"));
        executor.retire();
      }
      assertEquals([executor.ranks.plansInFlight, executor.ranks.steps], [0, steps]);
      assertEquals(events.at(-1), "held");
      core.hold(() => events.push("held again"));
      assertEquals(events.at(-1), "held again");
      core.go();
      assert(executor.ranks.plansInFlight > 0);
    }
    executor.retire();
  }
  return tokens;
}

Deno.test("a core that is held lets steps under way end, plans none, and goes on with the same tokens", () => {
  const tokens = run(null);
  assertEquals(tokens.map(({ length }) => length), [10, 10]);
  for (const holdAfter of [0, 1, 4]) assertEquals(run(holdAfter), tokens);
});

Deno.test("the first output of each request, and no other, says how long it waited", () => {
  const executor = new SteppedExecutor();
  const waited: (number | undefined)[][] = [[], [], []];
  const core = new EngineCore(new Scheduler({ ...OPTIONS, maxNumSeqs: 1 }), executor, {
    progress(outputs) {
      for (const { id, queueSeconds } of outputs) waited[Number(id)].push(queueSeconds);
    },
    dead: (reason) => assert(false, reason),
  });
  for (const id of [0, 1, 2]) core.add(request(id, 3, { maxTokens: 3 }));
  core.abort(2);
  while (executor.ranks.plansInFlight > 0) executor.retire();
  assertEquals(waited.map((all) => all.map((seconds) => seconds !== undefined)), [
    [true, false, false],
    [true, false, false],
    [],
  ]);
  assert(waited[1][0]! >= waited[0][0]!, "the second waited for the first");
});
