/** How long requests wait for their first token, in steps: long prompts beside short ones, and priorities. */
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import fc from "fast-check";
import type { SchedulerRequest } from "../../../../src/engine/scheduler/scheduler.ts";
import { request, Simulation } from "../_simulation.ts";

const BUDGET = 32;
const MOST_LIVE = 16;
/** Prompt tokens that each kind of prompt gets of a step at least, however many others decode. */
const SHARE = Math.floor((BUDGET - MOST_LIVE) / 2);

const arrival = fc.record({
  length: fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 1, max: 20 }) },
    { weight: 2, arbitrary: fc.integer({ min: BUDGET + 1, max: 150 }) },
  ),
  maxTokens: fc.integer({ min: 1, max: 12 }),
  /** Steps before it arrives. */
  gap: fc.constantFrom(0, 0, 1, 2, 5),
});

interface Wait {
  readonly length: number;
  /** Tokens of short and long prompts, those of this one too, that were to be computed before its own last one. */
  readonly ahead: { readonly short: number; readonly long: number };
  readonly steps: number;
}

function isLong(length: number): boolean {
  return length > BUDGET;
}

/** Plans one step after the other while requests arrive; returns how long each waited. */
function waits(arrivals: readonly (typeof arrival extends fc.Arbitrary<infer A> ? A : never)[]) {
  const simulation = new Simulation({
    ...{ maxNumSeqs: MOST_LIVE, maxNumBatchedTokens: BUDGET, maxModelLen: 256 },
    ...{ numBlocks: MOST_LIVE * 64, maxHitBlocks: 0 },
  });
  const planned = new Map<number, number>();
  const begun: { arrived: number; ahead: Wait["ahead"] }[] = [];
  const step = () => {
    const plan = simulation.send();
    if (plan === null) return;
    for (const { id } of simulation.retire()) {
      if (!planned.has(id as number)) planned.set(id as number, simulation.plans.length);
    }
  };
  arrivals.forEach(({ length, maxTokens, gap }, id) => {
    for (let i = 0; i < gap; i++) step();
    const ahead = { short: 0, long: 0 };
    for (let other = 0; other <= id; other++) {
      if (planned.has(other)) continue;
      ahead[isLong(arrivals[other].length) ? "long" : "short"] += arrivals[other].length;
    }
    begun.push({ arrived: simulation.plans.length, ahead });
    simulation.add(request(id, length, { maxTokens }));
  });
  while (simulation.scheduler.hasWork) step();
  simulation.check();
  return begun.map(({ arrived, ahead }, id): Wait => ({
    length: arrivals[id].length,
    ahead,
    steps: planned.get(id)! - arrived,
  }));
}

Deno.test("Scheduler lets neither short prompts wait for long ones, nor these for them", () => {
  let tight = 0;
  fc.assert(
    fc.property(
      fc.array(arrival, { minLength: 4, maxLength: MOST_LIVE, size: "max" }),
      (arrivals) => {
        for (const { length, ahead, steps } of waits(arrivals)) {
          const ofShort = Math.ceil(ahead.short / SHARE);
          // A long prompt also waits for the short ones that came before it to be admitted.
          const bound = isLong(length) ? ofShort + Math.ceil(ahead.long / SHARE) : ofShort;
          assertLessOrEqual(steps, bound);
          if (!isLong(length) && ahead.long > 4 * BUDGET) tight++;
        }
      },
    ),
    { numRuns: 100, seed: 12 },
  );
  assert(tight > 100, `few short prompts had long ones before them: ${tight}`);
});

Deno.test("Scheduler gives a long prompt whole steps when nobody else has a prompt", () => {
  const simulation = new Simulation({ maxNumBatchedTokens: BUDGET, maxModelLen: 128 });
  simulation.add(request(1, 100, { maxTokens: 1 }));
  simulation.drain();
  simulation.check();
  const sizes = simulation.plans.map(({ sequences }) => sequences[0].numTokens);
  assertEquals(sizes, [32, 32, 32, 4]);
});

function withPriority(id: number, priority: number, maxTokens = 2): SchedulerRequest {
  return { ...request(id, 4, { maxTokens }), priority };
}

Deno.test("Scheduler admits lower priorities first, and among equals who came first", () => {
  const simulation = new Simulation({ maxNumSeqs: 1 });
  const priorities = [0, 5, -3, 0, 5, -3];
  priorities.forEach((priority, id) => simulation.add(withPriority(id, priority)));
  const ended: (number | string)[] = [];
  while (simulation.scheduler.hasWork) {
    simulation.send();
    for (const { id, finishReason } of simulation.retire()) if (finishReason) ended.push(id);
  }
  assertEquals(ended, [2, 5, 0, 3, 1, 4]);
  simulation.check();
});

Deno.test("Scheduler preempts the last in order, not who came last", () => {
  const simulation = new Simulation({ numBlocks: 8, blockSize: 2, lookahead: 1, maxHitBlocks: 0 });
  simulation.add(withPriority(1, 9, 10));
  simulation.add(withPriority(2, -1, 10));
  simulation.drain();
  simulation.check();
  assert(simulation.scheduler.stats.preemptions > 0, "nothing was preempted");
  const last = simulation.plans.at(-1)?.sequences;
  assertEquals(simulation.outputOf(2).tokenIds.length, 10);
  // The later one ended first: what it computes is not computed anew.
  assertEquals(last?.length, 1);
  const firsts = simulation.plans.flatMap(({ sequences }) => sequences)
    .filter(({ startPosition }) => startPosition === 0);
  assertEquals(firsts.length, 2 + simulation.scheduler.stats.preemptions);
});
