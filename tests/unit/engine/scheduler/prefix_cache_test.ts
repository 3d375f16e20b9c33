import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { Scheduler, type SchedulerRequest } from "../../../../src/engine/scheduler/scheduler.ts";
import { EOS, generateAlone } from "../_fake_model.ts";
import { request, schedulerOptions, Simulation } from "../_simulation.ts";

/** The prompt of request 1, or a part of it, under another name. */
function alike(
  id: number,
  length: number,
  { sampling = {}, ...fields }: Partial<Pick<SchedulerRequest, "cacheSalt" | "cachePrompt">> & {
    readonly sampling?: Parameters<typeof request>[2];
  } = {},
): SchedulerRequest {
  const { promptTokenIds } = request(1, length);
  return { ...request(id, length, { maxTokens: 1, ...sampling }), promptTokenIds, ...fields };
}

/** Runs requests one after the other; returns how many tokens of each were cached. */
function cachedOf(simulation: Simulation, requests: readonly SchedulerRequest[]): number[] {
  for (const added of requests) {
    simulation.add(added);
    simulation.drain();
  }
  simulation.check();
  return requests.map(({ id }) => simulation.cachedTokens(id));
}

Deno.test("Scheduler takes the blocks of a prompt that begins alike, and computes the rest", () => {
  const simulation = new Simulation();
  const own = [...request(1, 13).promptTokenIds as number[], 1, 2, 3, 4];
  assertEquals(
    cachedOf(simulation, [alike(1, 17), { ...alike(2, 17), promptTokenIds: own }, alike(3, 40)]),
    [0, 12, 16],
  );
  const [, second, third] = simulation.plans.map(({ sequences }) => sequences[0]);
  assertEquals([second.startPosition, second.numTokens, second.firstNewBlock], [12, 5, 0]);
  assertEquals([second.newBlocks.length, third.newBlocks.length], [5, 10]);
  const { prefixCacheQueries, prefixCacheHits, promptTokens } = simulation.scheduler.stats;
  assertEquals([prefixCacheQueries, prefixCacheHits, promptTokens], [74, 28, 74]);
});

Deno.test("Scheduler computes the last token of a prompt whatever is cached", () => {
  assertEquals(cachedOf(new Simulation(), [1, 2, 3].map((id) => alike(id, 16))), [0, 12, 12]);
  // One token has nothing before it: it is not looked for.
  const simulation = new Simulation({ blockSize: 1 });
  assertEquals(cachedOf(simulation, [alike(1, 1), alike(2, 1), alike(3, 2)]), [0, 0, 1]);
  assertEquals(simulation.scheduler.stats.prefixCacheQueries, 2);
});

Deno.test("Scheduler shares a block once the plan that fills it has retired, and among those who run", () => {
  const simulation = new Simulation({ lookahead: 1 });
  simulation.add(alike(1, 9, { sampling: { maxTokens: 30 } }));
  simulation.send();
  simulation.add(alike(2, 9, { sampling: { maxTokens: 30 } }));
  simulation.send();
  simulation.retire();
  simulation.add(alike(3, 9, { sampling: { maxTokens: 30 } }));
  const planned = simulation.send()?.sequences ?? [];
  assertEquals(planned.map(({ startPosition }) => startPosition), [10, 9, 8]);
  const { kvBlocksFree, kvBlocksTotal } = simulation.scheduler.stats;
  assertEquals(kvBlocksTotal - kvBlocksFree, 3 + 3 + 1);
  simulation.drain();
  simulation.check();
  assertEquals([1, 2, 3].map((id) => simulation.cachedTokens(id)), [0, 0, 8]);
});

Deno.test("Scheduler takes over what another prompt computes while it waits for its turn, or runs", () => {
  const simulation = new Simulation({ maxNumBatchedTokens: 8, maxModelLen: 64 });
  // All are admitted at once, as long prompts; the second one's turn comes when the first is computed.
  for (const id of [1, 2, 3]) simulation.add(alike(id, 42));
  simulation.drain();
  simulation.check();
  assertEquals([1, 2, 3].map((id) => simulation.cachedTokens(id)), [0, 40, 40]);
  const { prefixCacheQueries, prefixCacheHits } = simulation.scheduler.stats;
  assertEquals([prefixCacheQueries, prefixCacheHits], [126, 80]);
  // The first has begun when one overtakes it that begins alike.
  const overtaken = new Simulation({ maxNumBatchedTokens: 8, maxModelLen: 64 });
  overtaken.add({ ...alike(1, 42), priority: 1 });
  for (let i = 0; i < 2; i++) assert(overtaken.send() && overtaken.retire());
  overtaken.add(alike(2, 42));
  overtaken.drain();
  overtaken.check();
  assertEquals([1, 2].map((id) => overtaken.cachedTokens(id)), [24, 16]);
});

Deno.test("Scheduler finds what was generated, up to the end token and not what was computed after it", () => {
  const ends = (seed: bigint) =>
    alike(1, 5, { sampling: { ignoreEos: false, maxTokens: 40, seed } });
  let seed = 0n;
  while (generateAlone(ends(seed)).tokenIds.length !== 11) seed++;
  const simulation = new Simulation({ lookahead: 2, blockSize: 2 });
  const first = ends(seed);
  const { tokenIds } = generateAlone(first);
  assertEquals(tokenIds.at(-1), EOS);
  const turn = [...first.promptTokenIds as number[], ...tokenIds];
  const next = [...turn, 1, 2, 3];
  assertEquals(
    cachedOf(simulation, [first, { ...alike(2, next.length), promptTokenIds: next }]),
    [0, 16],
  );
  assertEquals(turn.length, 16);
});

Deno.test("Scheduler keeps salts apart", () => {
  const requests = [undefined, "a", "b", "a", undefined, ""].map((cacheSalt, i) =>
    alike(i, 9, { cacheSalt })
  );
  assertEquals(cachedOf(new Simulation(), requests), [0, 0, 0, 8, 8, 8]);
});

Deno.test("Scheduler takes and leaves nothing for a request that opts out, and nothing without a cache", () => {
  const optOut = (id: number) => alike(id, 9, { cachePrompt: false });
  const simulation = new Simulation();
  const requests = [optOut(1), alike(2, 9), optOut(3), alike(4, 9, { cachePrompt: true })];
  assertEquals(cachedOf(simulation, requests), [0, 0, 0, 8]);
  assertEquals(simulation.scheduler.stats.prefixCacheQueries, 18);
  const without = new Simulation({ maxHitBlocks: 0 });
  assertEquals(cachedOf(without, [alike(1, 9), alike(2, 9)]), [0, 0]);
  assertEquals(without.scheduler.stats.prefixCacheQueries, 0);
});

Deno.test("Scheduler computes the whole prompt where its log-probabilities are asked for, and leaves it", () => {
  const simulation = new Simulation();
  const withLogprobs = (id: number) => alike(id, 9, { sampling: { promptLogprobs: 2 } });
  assertEquals(
    cachedOf(simulation, [withLogprobs(1), withLogprobs(2), alike(3, 9)]),
    [0, 0, 8],
  );
});

Deno.test("Scheduler drops the blocks that were used the longest ago, of one prompt the last first", () => {
  const simulation = new Simulation({ numBlocks: 8, maxModelLen: 32 });
  const other = request(2, 16, { maxTokens: 1 });
  // 1 leaves 3 blocks, the other 4, and 3 uses those of 1 again; then 4 takes the one that is blank and 4 more.
  const requests = [alike(1, 13), other, alike(3, 13), request(4, 20, { maxTokens: 1 })];
  assertEquals(cachedOf(simulation, requests), [0, 0, 12, 0]);
  assertEquals(cachedOf(simulation, [{ ...other, id: 5 }]), [0]);
  const fewer = new Simulation({ numBlocks: 8, maxModelLen: 32 });
  assertEquals(cachedOf(fewer, [alike(1, 17), request(2, 20, { maxTokens: 1 })]), [0, 0]);
  assertEquals(cachedOf(fewer, [alike(3, 17)]), [12]);
});

Deno.test("Scheduler gives a preempted sequence back what it had computed and nobody has taken", () => {
  const counts = [0, 512].map((maxHitBlocks) => {
    const simulation = new Simulation({ numBlocks: 12, blockSize: 2, lookahead: 1, maxHitBlocks });
    for (const id of [1, 2]) simulation.add(request(id, 3, { maxTokens: 16 }));
    simulation.drain();
    simulation.check();
    assert(simulation.scheduler.stats.preemptions > 0, "nothing was preempted");
    assertEquals(simulation.scheduler.stats.prefixCacheHits, 0);
    const planned = simulation.plans.flatMap(({ sequences }) => sequences);
    return planned.reduce((sum, { numTokens }) => sum + numTokens, 0);
  });
  assertNotEquals(counts[0], counts[1]);
  assert(counts[1] < counts[0]);
});

Deno.test("Scheduler lets a request wait for the next step when one would take over too many blocks", () => {
  const simulation = new Simulation({ maxHitBlocks: 8, maxModelLen: 33 });
  cachedOf(simulation, [alike(1, 30)]);
  for (const id of [2, 3, 4]) simulation.add(alike(id, 20, { sampling: { maxTokens: 4 } }));
  const admitted = [simulation.send(), simulation.retire() && simulation.send()];
  assertEquals(admitted.map((plan) => plan?.sequences.length), [2, 3]);
  simulation.drain();
  simulation.check();
  assertThrows(
    () => new Scheduler(schedulerOptions({ maxHitBlocks: 7, maxModelLen: 33 })),
    RangeError,
    "maxHitBlocks must hold a context of 33 tokens",
  );
});
