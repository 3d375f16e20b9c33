import { assert, assertEquals, assertThrows } from "@std/assert";
import { Scheduler, type SchedulerRequest } from "../../../../src/engine/scheduler/scheduler.ts";
import type { StepPlan } from "../../../../src/engine/step_plan.ts";
import { UnsupportedRequestError } from "../../../../src/engine/types.ts";
import { EOS, generateAlone, VOCAB_SIZE } from "../_fake_model.ts";
import { request, schedulerOptions, Simulation } from "../_simulation.ts";

/** Tokens planned for each entry. */
function sizes(plan: StepPlan | null): number[] {
  return plan?.sequences.map((sequence) => sequence.numTokens) ?? [];
}

/** A request that, alone, draws an end token before its last token. */
function requestThatStops(after: number): SchedulerRequest {
  for (let seed = 0n; seed < 10_000n; seed++) {
    const candidate = request(1, 5, { ignoreEos: false, maxTokens: 40, seed });
    if (generateAlone(candidate).tokenIds.length === after) return candidate;
  }
  throw new Error(`No seed stops after ${after} tokens`);
}

Deno.test("Scheduler refuses options out of range by name", () => {
  const { cacheSecret: _, ...numbers } = schedulerOptions();
  for (const name of Object.keys(numbers)) {
    const least = ["lookahead", "maxHitBlocks"].includes(name) ? [] : [0];
    for (const value of [-1, 0.5, NaN, ...least]) {
      assertThrows(() => new Scheduler(schedulerOptions({ [name]: value })), RangeError, name);
    }
  }
});

Deno.test("Scheduler.schedule() gives null when there is nothing to do", () => {
  const scheduler = new Scheduler(schedulerOptions());
  assertEquals(scheduler.schedule(), null);
  assert(!scheduler.hasWork);
});

Deno.test("Scheduler.add() refuses at once what can never fit, and takes what just fits", () => {
  const small = { numBlocks: 4, blockSize: 4, maxModelLen: 20 };
  const refusal = (added: SchedulerRequest) => {
    const scheduler = new Scheduler(schedulerOptions(small));
    const error = assertThrows(() => scheduler.add(added), UnsupportedRequestError);
    assert(!scheduler.hasWork);
    return error.param;
  };
  assertEquals(refusal(request(1, 0)), "prompt");
  assertEquals(refusal(request(1, 21, { maxTokens: 1 })), "prompt");
  assertEquals(refusal(request(1, 10, { maxTokens: 11 })), "maxTokens");
  assertEquals(refusal(request(1, 17, { maxTokens: 1 })), "prompt");
  assertEquals(refusal(request(1, 10, { maxTokens: 8 })), "maxTokens");
  assertEquals(refusal({ ...request(1, 3), promptTokenIds: [1, VOCAB_SIZE] }), "prompt");
  assertEquals(refusal({ ...request(1, 3), promptTokenIds: [1, -1] }), "prompt");
  // 10 + 7 - 1 = 16 positions fill the 4 blocks: the last token is drawn but never computed.
  for (const [prompt, maxTokens] of [[10, 7], [16, 1], [16, 0]]) {
    const simulation = new Simulation(small);
    simulation.add(request(1, prompt, { maxTokens, promptLogprobs: 0 }));
    simulation.drain();
    simulation.check();
  }
});

Deno.test("Scheduler.add() refuses an id that is live, and takes it again afterwards", () => {
  const simulation = new Simulation();
  simulation.add(request(1, 3, { maxTokens: 2 }));
  assertThrows(() => simulation.scheduler.add(request(1, 3)), RangeError, "in use");
  simulation.drain();
  simulation.check();
  simulation.scheduler.add(request(1, 4, { maxTokens: 2 }));
  assertEquals(simulation.scheduler.stats.waiting, 1);
});

Deno.test("Scheduler cuts prompts into chunks and puts decodes beside them, decodes first", () => {
  const simulation = new Simulation({ maxNumBatchedTokens: 8 });
  simulation.add(request(1, 6, { maxTokens: 8 }));
  simulation.add(request(2, 20, { maxTokens: 2 }));
  const shapes: number[][] = [];
  for (let plan = simulation.send(); plan !== null; plan = simulation.send()) {
    shapes.push(sizes(plan));
    simulation.retire();
  }
  assertEquals(shapes, [[6, 2], [1, 7], [1, 7], [1, 4], [1, 1], [1], [1], [1]]);
  simulation.check();
});

Deno.test("Scheduler admits first come, first served, up to maxNumSeqs", () => {
  const simulation = new Simulation({ maxNumSeqs: 2 });
  for (const id of [1, 2, 3]) simulation.add(request(id, 3, { maxTokens: id === 1 ? 2 : 4 }));
  simulation.send();
  assertEquals([simulation.scheduler.stats.running, simulation.scheduler.stats.waiting], [2, 1]);
  simulation.drain();
  simulation.check();
});

Deno.test("Scheduler plans no step past the last token of a request", () => {
  for (const lookahead of [0, 1, 2]) {
    const simulation = new Simulation({ lookahead });
    simulation.add(request(1, 5, { maxTokens: 6 }));
    simulation.drain();
    assertEquals(simulation.plans.length, 6);
    simulation.check();
  }
});

Deno.test("Scheduler names tokens in flight by step, and gives those that are known literally", () => {
  const simulation = new Simulation({ lookahead: 1 });
  simulation.add(request(1, 5, { maxTokens: 6 }));
  simulation.send();
  const ahead = simulation.send()?.sequences[0];
  assertEquals([ahead?.tokens, ahead?.inputStep, ahead?.startPosition], [null, 0, 5]);
  assertEquals(simulation.send(), null);
  const [first] = simulation.retire();
  simulation.retire();
  const known = simulation.send()?.sequences[0];
  assertEquals([known?.tokens?.length, known?.inputStep, known?.startPosition], [1, -1, 6]);
  assertEquals(first.tokenIds.length, 1);
  simulation.drain();
  simulation.check();
});

Deno.test("Scheduler drops and does not count tokens that come after an end token", () => {
  const stopping = requestThatStops(3);
  const simulation = new Simulation({ lookahead: 2 });
  simulation.add(stopping);
  simulation.fill();
  for (let i = 0; i < 2; i++) {
    simulation.retire();
    simulation.fill();
  }
  const [last] = simulation.retire();
  assertEquals([last.tokenIds, last.finishReason, last.stopReason], [[EOS], "stop", null]);
  assertEquals(simulation.scheduler.plansInFlight, 2);
  const { stats } = simulation.scheduler;
  assert(stats.kvBlocksFree < stats.kvBlocksTotal, "blocks freed under plans in flight");
  assertEquals(simulation.send(), null);
  assertEquals([...simulation.retire(), ...simulation.retire()], []);
  simulation.check();
  assertEquals(simulation.scheduler.stats.generationTokens, 3);
  assert(!simulation.scheduler.hasWork);
});

Deno.test("Scheduler stops at stop token ids and names them, unless the model's end comes first", () => {
  const stopping = requestThatStops(3);
  const [first] = generateAlone(stopping).tokenIds;
  const withStop = (extra: Partial<SchedulerRequest["sampling"]>) => {
    const simulation = new Simulation();
    simulation.add({ ...stopping, sampling: { ...stopping.sampling, ...extra } });
    simulation.drain();
    simulation.check();
    return simulation.outputOf(1);
  };
  const stopped = withStop({ stopTokenIds: [first] });
  assertEquals([stopped.tokenIds, stopped.stopReason], [[first], first]);
  assertEquals(withStop({ stopTokenIds: [EOS] }).stopReason, null);
  assertEquals(withStop({ stopTokenIds: [EOS], ignoreEos: true }).stopReason, EOS);
  assertEquals(withStop({ ignoreEos: true }).tokenIds.length, 40);
});

Deno.test("Scheduler keeps a decoding sequence in one flight and balances the flights", () => {
  const simulation = new Simulation({ pipelineStages: 4, maxNumSeqs: 6 });
  for (let id = 0; id < 6; id++) simulation.add(request(id, 3, { maxTokens: 20 }));
  simulation.fill();
  simulation.retire();
  for (let i = 0; i < 12; i++) {
    simulation.fill();
    simulation.retire();
  }
  const steady = simulation.plans.slice(-6);
  for (const plan of steady) assert(plan.sequences.length <= 2, "unbalanced flight");
  const slots = steady.slice(0, 3).flatMap(({ sequences }) => sequences.map(({ slot }) => slot));
  assertEquals(new Set(slots).size, 6);
  simulation.drain();
  simulation.check();
});

Deno.test("Scheduler gives decoding sequences their turns when plans are not overlapped", () => {
  const simulation = new Simulation({ pipelineStages: 2 });
  for (let id = 0; id < 4; id++) simulation.add(request(id, 3, { maxTokens: 20 }));
  const turns: number[][] = [];
  for (let i = 0; i < 5; i++) {
    turns.push(simulation.send()?.sequences.map(({ slot }) => slot) ?? []);
    simulation.retire();
  }
  assertEquals(turns, [[0, 1, 2, 3], [0, 1], [2, 3], [0, 1], [2, 3]]);
  simulation.drain();
  simulation.check();
});

Deno.test("Scheduler lets prefill chunks of one sequence follow each other in a pipeline", () => {
  const simulation = new Simulation({ pipelineStages: 3, maxNumBatchedTokens: 4 });
  simulation.add(request(1, 12, { maxTokens: 3 }));
  simulation.fill();
  assertEquals(simulation.plans.map(sizes), [[4], [4], [4]]);
  simulation.drain();
  simulation.check();
});

Deno.test("Scheduler cuts prompts into flights in a pipeline even where one step would hold them", () => {
  const flights = (pipelineStages: number) => {
    const simulation = new Simulation({
      ...{ pipelineStages, maxNumBatchedTokens: 4096, numBlocks: 600, blockSize: 4 },
      maxModelLen: 2000,
    });
    simulation.add(request(1, 1600, { maxTokens: 1 }));
    simulation.add(request(2, 40, { maxTokens: 1 }));
    const tokens: number[] = [];
    for (let plan = simulation.send(); plan !== null; plan = simulation.send()) {
      tokens.push(sizes(plan).reduce((sum, size) => sum + size, 0));
      simulation.retire();
    }
    simulation.check();
    return tokens;
  };
  assertEquals(flights(1), [1640]);
  // An eighth of what is left each time, 64 at least.
  const two = flights(2);
  assertEquals(two.slice(0, 3), [205, 180, 157]);
  assertEquals(two.reduce((sum, count) => sum + count, 0), 1640);
  assert(two.slice(0, -1).every((count) => count >= 64));
});

Deno.test("Scheduler.abort() takes effect from the next plan and frees when plans have retired", () => {
  const simulation = new Simulation({ lookahead: 2 });
  simulation.add(request(1, 5, { maxTokens: 30 }));
  simulation.add(request(2, 5, { maxTokens: 30 }));
  simulation.fill();
  const inFlight = simulation.scheduler.plansInFlight;
  simulation.abort(1);
  for (let i = 0; i < inFlight; i++) {
    simulation.retire();
    assertEquals(sizes(simulation.send()).length, 1);
  }
  const { kvBlocksFree, kvBlocksTotal, running } = simulation.scheduler.stats;
  assertEquals([kvBlocksTotal - kvBlocksFree, running], [3, 1]);
  simulation.abort(2);
  simulation.abort(2);
  simulation.drain();
  simulation.check();
});

Deno.test("Scheduler.abort() ends a request that waits", () => {
  const simulation = new Simulation({ maxNumSeqs: 1 });
  for (const id of [1, 2, 3]) simulation.add(request(id, 3, { maxTokens: 3 }));
  simulation.send();
  simulation.abort(2);
  assertEquals(simulation.scheduler.stats.waiting, 1);
  simulation.drain();
  simulation.check();
  assertEquals(simulation.outputOf(2).tokenIds, []);
});

Deno.test("Scheduler preempts the latest arrival, computes it again, and gives the same", () => {
  const simulation = new Simulation({ numBlocks: 8, blockSize: 2, lookahead: 1 });
  for (const id of [1, 2, 3]) {
    simulation.add(request(id, 3, { maxTokens: 10, logprobs: 2, promptLogprobs: 1 }));
  }
  const finished: (number | string)[] = [];
  simulation.fill();
  while (simulation.scheduler.plansInFlight > 0) {
    for (const { id, finishReason } of simulation.retire()) {
      if (finishReason !== null) finished.push(id);
    }
    simulation.fill();
  }
  assert(simulation.scheduler.stats.preemptions > 0, "nothing was preempted");
  assertEquals(finished, [1, 2, 3]);
  assertEquals(simulation.scheduler.stats.promptTokens, 9);
  simulation.check();
});

Deno.test("Scheduler waits for blocks that are about to be free rather than preempting more", () => {
  const simulation = new Simulation({ numBlocks: 9, blockSize: 2, lookahead: 2 });
  for (const id of [1, 2, 3]) simulation.add(request(id, 4, { maxTokens: 14 }));
  const { scheduler } = simulation;
  while (scheduler.stats.preemptions === 0) {
    simulation.fill();
    simulation.retire();
  }
  simulation.fill();
  assertEquals([scheduler.stats.preemptions, scheduler.stats.waiting], [1, 1]);
  simulation.drain();
  simulation.check();
});

Deno.test("Scheduler admits nobody whose blocks the running sequences are about to take", () => {
  const simulation = new Simulation({ numBlocks: 6, blockSize: 2 });
  simulation.add(request(1, 4, { maxTokens: 3 }));
  simulation.add(request(2, 7, { maxTokens: 2 }));
  // 1 has filled 2 blocks and takes a third for its next token: 3 of the 4 that 2 needs are left.
  assertEquals(sizes(simulation.send()), [4]);
  simulation.drain();
  simulation.check();
  assertEquals(simulation.scheduler.stats.preemptions, 0);
});

Deno.test("Scheduler keeps tokens in flight of a preempted sequence, and reuses no block before", () => {
  const simulation = new Simulation({ numBlocks: 6, blockSize: 2, lookahead: 2 });
  for (const id of [1, 2]) simulation.add(request(id, 4, { maxTokens: 8 }));
  simulation.fill();
  const { scheduler } = simulation;
  while (scheduler.stats.preemptions === 0) {
    simulation.retire();
    simulation.fill();
  }
  const before = simulation.outputOf(2).tokenIds.length;
  while (scheduler.stats.waiting > 0 && scheduler.plansInFlight > 0 && !simulation.finished(1)) {
    simulation.retire();
    simulation.fill();
  }
  assert(simulation.outputOf(2).tokenIds.length > before, "tokens in flight were lost");
  simulation.drain();
  simulation.check();
});

Deno.test("Scheduler asks for each prompt log-probability once, whatever is preempted", () => {
  for (const length of [2, 3, 4, 5]) {
    const simulation = new Simulation({ numBlocks: 8, blockSize: 2, maxNumBatchedTokens: 3 });
    simulation.add(request(1, length, { maxTokens: 17 - length }));
    simulation.add(request(2, 9, { maxTokens: 3, promptLogprobs: 3 }));
    simulation.drain();
    simulation.check();
    assert(simulation.scheduler.stats.preemptions > 0, "nothing was preempted");
    const planned = simulation.plans.flatMap(({ sequences }) => sequences);
    const asked = planned.map(({ promptTargets }) => promptTargets?.length ?? 0);
    assertEquals(asked.reduce((sum, count) => sum + count, 0), 8);
  }
});

Deno.test("Scheduler computes a prompt alone when maxTokens is 0", () => {
  const simulation = new Simulation({ maxNumBatchedTokens: 4 });
  simulation.add(request(1, 10, { maxTokens: 0, promptLogprobs: -1 }));
  simulation.add(request(2, 1, { maxTokens: 0, promptLogprobs: 0 }));
  simulation.drain();
  simulation.check();
  const { tokenIds, promptLogprobs, finishReason } = simulation.outputOf(1);
  assertEquals([tokenIds, promptLogprobs?.length, finishReason], [[], 10, "length"]);
  assertEquals(simulation.outputOf(2).promptLogprobs, [null]);
  assert(simulation.plans.every(({ sequences }) => sequences.every((s) => s.sampling === null)));
  assertEquals(simulation.scheduler.stats.promptTokens, 11);
});

Deno.test("Scheduler passes seed and sampling parameters on unchanged", () => {
  const simulation = new Simulation();
  const seed = 0xfedcba9876543210n;
  const params = { temperature: 0.7, topK: 5, topP: 0.9, minP: 0.1, logprobs: 3 };
  simulation.add({ ...request(1, 3, { ...params, seed }), choice: 2 });
  const expected = { ...params, seedLow: 0x76543210, seedHigh: 0xfedcba98, choice: 2 };
  assertEquals(simulation.send()?.sequences[0].sampling, expected);
});

Deno.test("Scheduler.update() refuses a result that does not answer the oldest plan", () => {
  const scheduler = new Scheduler(schedulerOptions());
  assertThrows(() => scheduler.update({ step: 0, sequences: [] }), Error, "another step");
  scheduler.add(request(1, 3, { promptLogprobs: 0 }));
  assert(scheduler.schedule() !== null);
  const row = { logprob: 0, topIds: new Int32Array(0), topLogprobs: new Float32Array(0) };
  const right = { slot: 0, token: 5, logprobs: null, promptLogprobs: [row, row] };
  const wrong = [
    { ...right, slot: 1 },
    { ...right, token: -1 },
    { ...right, token: VOCAB_SIZE },
    { ...right, token: 1.5 },
    { ...right, promptLogprobs: [row] },
    { ...right, promptLogprobs: null },
  ];
  for (const entry of wrong) {
    assertThrows(() => scheduler.update({ step: 0, sequences: [entry] }), Error, "entry 0");
  }
  assertThrows(() => scheduler.update({ step: 1, sequences: [right] }), Error, "another step");
  assertThrows(() => scheduler.update({ step: 0, sequences: [] }), Error, "1 entries");
  assertEquals(scheduler.update({ step: 0, sequences: [right] })[0].tokenIds, [5]);
});
