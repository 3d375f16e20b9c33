import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { SchedulerRequest } from "../../../src/engine/scheduler/scheduler.ts";
import { EOS, VOCAB_SIZE } from "./_fake_model.ts";
import { request, Simulation } from "./_simulation.ts";

const NUM_RUNS = 3000;

/** What changes logits; most requests change none. */
const adjustments = fc.record({
  presencePenalty: fc.constantFrom(0, 0, 1.5),
  frequencyPenalty: fc.constantFrom(0, 0, 0.75),
  repetitionPenalty: fc.constantFrom(1, 1, 1.5),
  logitBias: fc.constantFrom<Record<number, number>>({}, {}, { 3: 2, 5: -100, 11: 1.25 }),
  allowedTokenIds: fc.constantFrom(null, null, [0, 1, 2, 3, 4, 5, 8, 11, 12, 17, 20, 23]),
  minTokens: fc.constantFrom(0, 0, 3, 6),
}, { noNullPrototype: true });

const badWords = fc.constantFrom<number[][]>([], [], [[11], [4, 5]], [[3, 3], [8, 1, 2], [20, 23]]);

const sampling = fc.record({
  maxTokens: fc.integer({ min: 1, max: 24 }),
  ignoreEos: fc.constantFrom(true, true, false),
  stopTokenIds: fc.constantFrom<number[]>([], [], [], [3], [5, EOS]),
  logprobs: fc.constantFrom(null, null, 0, 2, -1),
  promptLogprobs: fc.constantFrom(null, null, 0, 3),
  seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
}, { noNullPrototype: true });

const arrival = fc.record({
  length: fc.integer({ min: 1, max: 12 }),
  /** Prompts of one family begin alike. */
  family: fc.nat(2),
  /** Tokens from here on are the request's own. */
  own: fc.integer({ min: 0, max: 16 }),
  priority: fc.constantFrom(undefined, undefined, undefined, -4, 7),
  cacheSalt: fc.constantFrom(undefined, undefined, undefined, "another"),
  cachePrompt: fc.constantFrom(undefined, undefined, true, false),
  sampling,
  adjusted: fc.option(fc.record({ adjustments, badWords }), { freq: 2 }),
  /** The prompt alone, when log-probabilities are wanted. */
  echo: fc.constantFrom(false, false, false, true),
  /** Steps that retire before the next arrival. */
  gap: fc.constantFrom(0, 0, 0, 1, 2, 5),
  /** Retired steps after which the request is aborted; null never. */
  abortAfter: fc.constantFrom(null, null, null, null, 0, 3, 8),
});

// Unbiased, as small values would leave little contention.
const setup = fc.noBias(fc.record({
  arrivals: fc.array(arrival, { minLength: 1, maxLength: 8, size: "max" }),
  maxNumSeqs: fc.integer({ min: 1, max: 6 }),
  maxNumBatchedTokens: fc.integer({ min: 1, max: 24 }),
  blockSize: fc.integer({ min: 1, max: 4 }),
  /** Blocks beyond what the largest request needs. */
  /** Cached blocks that a step takes over, beyond those of the longest context; null: no cache. */
  spareHitBlocks: fc.constantFrom(null, 0, 0, 100),
  spareBlocks: fc.constantFrom(0, 0, 1, 2, 4, 16),
  /** From what one request needs to what all do. */
  maxAdjustments: fc.constantFrom(VOCAB_SIZE, VOCAB_SIZE + 9, 6 * VOCAB_SIZE),
  pipelineStages: fc.integer({ min: 1, max: 4 }),
  lookahead: fc.integer({ min: 0, max: 2 }),
  /** Whether each turn fills the flights, sends one plan or sends none before a plan retires. */
  pace: fc.infiniteStream(fc.constantFrom("fill", "fill", "one", "none")),
}));

type Setup = typeof setup extends fc.Arbitrary<infer Value> ? Value : never;

function simulate(setup: Setup): Simulation {
  const { arrivals, spareBlocks, spareHitBlocks, pace, ...options } = setup;
  const requests = arrivals.map(toRequest);
  const positions = requests.map(({ promptTokenIds, sampling }) =>
    promptTokenIds.length + Math.max(0, sampling.maxTokens - 1)
  );
  const numBlocks = Math.ceil(Math.max(...positions) / options.blockSize) + spareBlocks;
  const maxHitBlocks = spareHitBlocks === null ? 0 : Math.ceil(64 / options.blockSize) +
    spareHitBlocks;
  const simulation = new Simulation({ ...options, numBlocks, maxHitBlocks, maxModelLen: 64 });
  const aborts = new Map<number, number>();
  let turn = 0;
  const takeTurn = () => {
    const how = pace.next().value;
    if (how === "fill") simulation.fill();
    if (how === "one") simulation.send();
    if (simulation.scheduler.plansInFlight > 0) simulation.retire();
    else simulation.send();
    for (const [id, due] of aborts) if (due === turn) simulation.abort(id);
    turn++;
  };
  arrivals.forEach(({ gap, abortAfter }, id) => {
    simulation.add(requests[id]);
    if (abortAfter !== null) aborts.set(id, turn + abortAfter);
    for (let i = 0; i < gap; i++) takeTurn();
  });
  for (let i = 0; i < 9; i++) takeTurn();
  // Nobody starves: alone and recomputed for every token it draws, each would take fewer steps.
  const bound = positions.reduce((sum, count) => sum + count * (count + 1), 0);
  simulation.drain(bound);
  simulation.check();
  requests.forEach(({ cachePrompt, sampling }, id) => {
    const takesPart = cachePrompt !== false && sampling.promptLogprobs === null;
    if (!takesPart || maxHitBlocks === 0) assertEquals(simulation.cachedTokens(id), 0);
  });
  return simulation;
}

function toRequest(arrival: Setup["arrivals"][number], id: number): SchedulerRequest {
  const { length, family, own, sampling, adjusted, echo, ...fields } = arrival;
  const maxTokens = echo && sampling.promptLogprobs !== null ? 0 : sampling.maxTokens;
  const promptTokenIds = Array.from(
    { length },
    (_, i) => ((i < own ? family : 3 + id) * 7 + i * 5 + 1) % VOCAB_SIZE,
  );
  const changes = adjusted && {
    ...adjusted.adjustments,
    minTokens: Math.min(adjusted.adjustments.minTokens, maxTokens),
  };
  const made = request(id, length, { ...sampling, ...changes, maxTokens });
  const { priority, cacheSalt, cachePrompt } = fields;
  const badWords = adjusted?.badWords;
  return { ...made, badWords, promptTokenIds, priority, cacheSalt, cachePrompt };
}

Deno.test("Scheduler gives every request what it gives alone, over random traces", () => {
  const seen = {
    adjusted: 0,
    changed: 0,
    preemptions: 0,
    ahead: 0,
    mixed: 0,
    chunked: 0,
    cached: 0,
  };
  fc.assert(
    fc.property(setup, (setup) => {
      const { plans, scheduler } = simulate(setup);
      seen.preemptions += scheduler.stats.preemptions;
      seen.cached += scheduler.stats.prefixCacheHits;
      for (const { sequences } of plans) {
        const prefills = sequences.filter(({ numTokens }) => numTokens > 1);
        if (prefills.length > 0 && prefills.length < sequences.length) seen.mixed++;
        if (sequences.some(({ tokens }) => tokens === null)) seen.ahead++;
        if (sequences.some(({ adjustments }) => adjustments !== null)) seen.adjusted++;
        if (sequences.some(({ adjustments }) => adjustments?.places.length)) seen.changed++;
        if (sequences.some(({ sampling }) => sampling === null)) seen.chunked++;
      }
    }),
    { numRuns: NUM_RUNS, seed: 2026 },
  );
  for (const [what, count] of Object.entries(seen)) {
    assert(count > NUM_RUNS / 4, `the traces exercise too little: ${what} ${count}`);
  }
});

Deno.test("Scheduler plans the same steps for the same calls", () => {
  fc.assert(
    fc.property(setup.filter(({ arrivals }) => arrivals.length > 3), (setup) => {
      const plans = () => {
        const pace = ["fill", "one", "none"] as const;
        const cycle = function* () {
          for (let i = 0;; i++) yield pace[i % 3];
        };
        return JSON.stringify(simulate({ ...setup, pace: fc.stream(cycle()) }).plans);
      };
      assert(plans() === plans());
    }),
    { numRuns: 100, seed: 2027 },
  );
});
