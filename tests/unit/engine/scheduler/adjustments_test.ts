import { assert, assertEquals, assertThrows } from "@std/assert";
import { AdjustmentTables } from "../../../../src/engine/rank/adjustment_tables.ts";
import { DEFAULT_SAMPLING_PARAMS } from "../../../../src/engine/sampling_params.ts";
import {
  type AdjustedRequest,
  SequenceAdjustments,
} from "../../../../src/engine/scheduler/sequence_adjustments.ts";
import { AllowedTokens, type TokenMask } from "../../../../src/engine/scheduler/token_mask.ts";
import type { StepPlan } from "../../../../src/engine/step_plan.ts";
import { type SamplingParams, UnsupportedRequestError } from "../../../../src/engine/types.ts";
import { adjustByTable, adjustPlainly } from "../_adjustments.ts";
import { VOCAB_SIZE } from "../_fake_model.ts";
import { request, Simulation } from "../_simulation.ts";

const EOS = 0;
const LOGITS = Float32Array.from({ length: VOCAB_SIZE }, (_, id) => (id * 7 % 11 - 5) / 2);

function adjusted(
  sampling: Partial<SamplingParams>,
  fields: Partial<AdjustedRequest> = {},
): AdjustedRequest {
  return {
    sampling: { ...DEFAULT_SAMPLING_PARAMS, ...sampling },
    promptTokenIds: [1, 2, 2, 9],
    eosTokenIds: [EOS],
    ...fields,
  };
}

function open(request: AdjustedRequest): SequenceAdjustments {
  const adjustments = SequenceAdjustments.of(request, VOCAB_SIZE);
  assert(adjustments);
  return adjustments;
}

/** The token of a plan's only sequence with adjustments: whether its values are named. */
const inputs = (plans: readonly StepPlan[]) =>
  plans.map(({ sequences }) => sequences.map(({ tokens }) => tokens !== null));

Deno.test("a table that ranks keep gives the logits that the tokens ask for, told from any step on", () => {
  const requests = [
    adjusted({ presencePenalty: 1.5 }),
    adjusted({ frequencyPenalty: -0.75, logitBias: { 3: 2, 9: -100 } }),
    adjusted({ repetitionPenalty: 1.3, presencePenalty: -2, allowedTokenIds: [1, 2, 3, 5, 8, 9] }),
    adjusted({ minTokens: 4, stopTokenIds: [7, EOS] }, { badWords: [[3], [5, 8], [2, 5, 8], [8]] }),
  ];
  const drawn = [5, 3, 2, 5, 8, 8, 1, 2, 5, 9];
  for (const asked of requests) {
    for (const forgetAt of drawn.keys()) {
      const adjustments = open(asked);
      let ranks = new AdjustmentTables();
      for (const [count, token] of drawn.entries()) {
        if (count === forgetAt) {
          adjustments.forget();
          ranks = new AdjustmentTables();
        }
        const output = drawn.slice(0, count);
        const table = ranks.change(3, adjustments.plan(count));
        assertEquals(adjustByTable(LOGITS, table), adjustPlainly(LOGITS, asked, output));
        adjustments.accept(Int32Array.from([...output, token]));
      }
    }
  }
});

Deno.test("a plan names what has changed since the last one, and nothing where nothing has", () => {
  const adjustments = open(adjusted({ presencePenalty: 1, logitBias: { 4: 1 } }));
  assertEquals([...adjustments.plan(0).places], [0]);
  const steady = adjustments.plan(0);
  assertEquals([steady.count, steady.places.length], [1, 0]);
  assertEquals(adjustments.plan(0), steady);
  adjustments.accept(Int32Array.of(6));
  assertEquals([...adjustments.plan(1).places], [1]);
  adjustments.accept(Int32Array.of(6, 6)); // a presence penalty does not grow
  assertEquals(adjustments.plan(2).places.length, 0);
});

Deno.test("requests that ask for nothing have no adjustments", () => {
  assertEquals(SequenceAdjustments.of(adjusted({}), VOCAB_SIZE), null);
  assertEquals(SequenceAdjustments.of(adjusted({ stopTokenIds: [4] }), VOCAB_SIZE), null);
  const endless = adjusted({ minTokens: 5 }, { eosTokenIds: [] });
  assertEquals(SequenceAdjustments.of(endless, VOCAB_SIZE), null);
});

Deno.test("allowed tokens of which none is left, or beside a mask, are refused by name", () => {
  const allowedTokenIds = [EOS, 5];
  const refused: AdjustedRequest[] = [
    adjusted({ allowedTokenIds, minTokens: 1 }, { badWords: [[5]] }),
    adjusted({ allowedTokenIds, minTokens: 1, stopTokenIds: [5] }),
    adjusted({ allowedTokenIds }, { mask: new AllowedTokens([1], VOCAB_SIZE) }),
  ];
  for (const asked of refused) {
    const error = assertThrows(() => open(asked), UnsupportedRequestError);
    assertEquals(error.param, "allowedTokenIds");
  }
  open(adjusted({ allowedTokenIds, minTokens: 1 }));
});

Deno.test("Scheduler plans beyond known tokens unless these change the logits", () => {
  const ahead: [Partial<SamplingParams>, number[][]?][] = [
    [{ logitBias: { 3: 1 } }],
    [{ allowedTokenIds: [1, 2, 3] }],
    [{ minTokens: 3 }],
    [{}, [[4]]],
  ];
  const waiting: typeof ahead = [
    [{ presencePenalty: 1 }],
    [{ frequencyPenalty: 1 }],
    [{ repetitionPenalty: 1.5 }],
    [{}, [[4, 5]]],
  ];
  for (const [sampling, badWords] of [...ahead, ...waiting]) {
    const simulation = new Simulation({ lookahead: 2 });
    simulation.add({ ...request(1, 3, { ...sampling, maxTokens: 5 }), badWords });
    simulation.fill();
    const named = inputs(simulation.plans);
    const runsAhead = ahead.some(([other, words]) => other === sampling && words === badWords);
    assertEquals(named, runsAhead ? [[true], [false], [false]] : [[true]]);
    simulation.drain();
    simulation.check();
  }
});

Deno.test("Scheduler lets others go on while a sequence waits for its own token", () => {
  const simulation = new Simulation({ lookahead: 1 });
  simulation.add(request(1, 3, { presencePenalty: 1, maxTokens: 6 }));
  simulation.add(request(2, 3, { maxTokens: 12 }));
  simulation.drain();
  simulation.check();
  assert(simulation.plans.some(({ sequences }) => sequences.length === 1));
  assert(simulation.plans.length <= 13);
});

Deno.test("Scheduler draws for sequences that wait for their tokens in one step, whenever they came", () => {
  const simulation = new Simulation({ lookahead: 1 });
  for (const id of [1, 2, 3]) {
    simulation.add(request(id, 3, { presencePenalty: 1, maxTokens: 9 }));
    simulation.fill();
    if (id !== 2) simulation.retire();
  }
  simulation.drain();
  simulation.check();
  const last = simulation.plans.slice(-6, -3).map(({ sequences }) => sequences.length);
  assertEquals(last, [3, 3, 3]);
});

Deno.test("Scheduler changes no more logits in a step than there is room for", () => {
  // One request's prompt and output fill the table: no other one fits beside it.
  const simulation = new Simulation({ maxAdjustments: VOCAB_SIZE });
  for (const id of [1, 2, 3]) {
    simulation.add(request(id, 24, { repetitionPenalty: 1.5, maxTokens: 4 }));
  }
  simulation.drain();
  simulation.check();
  for (const { sequences } of simulation.plans) {
    assert(sequences.filter(({ adjustments }) => adjustments !== null).length <= 1);
  }
});

/** Allows the even tokens and the odd ones by turns; each mask is found some time after it is wanted. */
class AlternatingMask implements TokenMask {
  readonly followsTokens = true;
  words: Int32Array | null = null;
  readonly accepted: number[] = [];

  accept(tokenId: number): void {
    this.accepted.push(tokenId);
    this.words = null;
  }

  find(): void {
    const odd = this.accepted.length % 2;
    const ids = Array.from({ length: VOCAB_SIZE / 2 }, (_, i) => 2 * i + odd);
    this.words = new AllowedTokens(ids, VOCAB_SIZE).words;
  }
}

Deno.test("a mask may follow what is drawn, and a sequence waits until it is known", () => {
  const simulation = new Simulation({ lookahead: 1 });
  const mask = new AlternatingMask();
  simulation.add({ ...request(1, 3, { maxTokens: 6 }), mask });
  // The prompt is computed meanwhile, but for the token after which the first one is drawn.
  assertEquals(simulation.send()?.sequences.map(({ numTokens }) => numTokens), [2]);
  simulation.retire();
  for (let i = 0; i < 6; i++) {
    assertEquals(simulation.send(), null);
    mask.find();
    const plan = simulation.send();
    assertEquals(plan?.sequences[0].adjustments?.mask, mask.words);
    simulation.retire();
  }
  assertEquals(mask.accepted.map((token) => token % 2), [0, 1, 0, 1, 0, 1]);
});
