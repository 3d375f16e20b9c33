/**
 * Drives a scheduler and fake ranks together, and collects what each request gives.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  Scheduler,
  type SchedulerOptions,
  type SchedulerOutput,
  type SchedulerRequest,
} from "../../../src/engine/scheduler/scheduler.ts";
import type { StepPlan } from "../../../src/engine/step_plan.ts";
import { DEFAULT_SAMPLING_PARAMS } from "../../../src/engine/sampling_params.ts";
import type { SamplingParams } from "../../../src/engine/types.ts";
import { FakeExecutor } from "./_fake_executor.ts";
import { EOS, type FakeOutput, generateAlone, VOCAB_SIZE } from "./_fake_model.ts";

/** A roomy single-stage scheduler unless told otherwise. */
export function schedulerOptions(options: Partial<SchedulerOptions> = {}): SchedulerOptions {
  return {
    maxNumSeqs: 8,
    maxNumBatchedTokens: 64,
    numBlocks: 64,
    blockSize: 4,
    maxModelLen: 128,
    pipelineStages: 1,
    lookahead: 0,
    vocabSize: VOCAB_SIZE,
    maxHitBlocks: 512,
    maxAdjustments: 4 * VOCAB_SIZE,
    cacheSecret: "a secret",
    ...options,
  };
}

/** A request whose prompt of `length` tokens depends on `id`; runs past end tokens unless told otherwise. */
export function request(
  id: number,
  length: number,
  sampling: Partial<SamplingParams> = {},
): SchedulerRequest {
  return {
    id,
    promptTokenIds: Array.from({ length }, (_, i) => (id * 7 + i * 5 + 1) % VOCAB_SIZE),
    sampling: {
      ...DEFAULT_SAMPLING_PARAMS,
      ignoreEos: true,
      ...sampling,
      seed: sampling.seed ?? BigInt(id) << 31n,
    },
    eosTokenIds: [EOS],
  };
}

interface Collected {
  readonly request: SchedulerRequest;
  readonly outputs: SchedulerOutput[];
  aborted: boolean;
}

/** What a plan says now. */
function copyOf({ step, sequences }: StepPlan): StepPlan {
  return {
    step,
    sequences: sequences.map((sequence) => ({
      ...sequence,
      tokens: sequence.tokens && Array.from(sequence.tokens),
      newBlocks: Array.from(sequence.newBlocks),
      adjustments: structuredClone(sequence.adjustments),
    })),
  };
}

/** A scheduler with ranks behind it. */
export class Simulation {
  readonly scheduler: Scheduler;
  readonly plans: StepPlan[] = [];
  readonly #executor: FakeExecutor;
  readonly #requests = new Map<number | string, Collected>();
  readonly #underWay: { readonly plan: StepPlan; readonly kept: StepPlan }[] = [];

  constructor(options: Partial<SchedulerOptions> = {}) {
    this.scheduler = new Scheduler(schedulerOptions(options));
    this.#executor = new FakeExecutor(schedulerOptions(options));
  }

  add(request: SchedulerRequest): void {
    this.scheduler.add(request);
    this.#requests.set(request.id, { request, outputs: [], aborted: false });
  }

  abort(id: number | string): void {
    const collected = this.#requests.get(id);
    assert(collected !== undefined);
    this.scheduler.abort(id);
    if (this.finished(id)) return;
    collected.aborted = true;
  }

  /** Plans and sends one step; null when the scheduler gives none. */
  send(): StepPlan | null {
    const plan = this.scheduler.schedule();
    this.scheduler.checkIntegrity();
    if (plan === null) return null;
    this.#executor.send(plan);
    assertEquals(this.scheduler.plansInFlight, this.#executor.plansInFlight);
    const kept = copyOf(plan);
    this.plans.push(kept);
    this.#underWay.push({ plan, kept });
    return kept;
  }

  /** Retires the oldest step. */
  retire(): readonly SchedulerOutput[] {
    // The scheduler promises to leave a plan alone until its result has come.
    for (const { plan, kept } of this.#underWay) assertEquals(copyOf(plan), kept);
    this.#underWay.shift();
    const outputs = structuredClone(this.scheduler.update(this.#executor.retire()));
    this.scheduler.checkIntegrity();
    for (const output of outputs) {
      const collected = this.#requests.get(output.id);
      assert(collected !== undefined && !collected.aborted, "output after abort");
      assert(!this.finished(output.id), "output after the last one");
      collected.outputs.push(output);
    }
    return outputs;
  }

  /** Sends as many plans as may be in flight. */
  fill(): void {
    while (this.send() !== null);
  }

  /** Runs until nothing is left to do; throws when that takes more than `maxSteps` steps. */
  drain(maxSteps = 10_000): void {
    this.fill();
    while (this.scheduler.plansInFlight > 0) {
      assert(this.plans.length <= maxSteps, "too many steps");
      this.retire();
      this.fill();
    }
    assert(!this.scheduler.hasWork, "work is left but nothing is planned");
  }

  finished(id: number | string): boolean {
    return (this.#requests.get(id)?.outputs.at(-1)?.finishReason ?? null) !== null;
  }

  /** Tokens of a request's prompt that it says were cached. */
  cachedTokens(id: number | string): number {
    return this.#requests.get(id)?.outputs.at(0)?.cachedTokens ?? 0;
  }

  outputOf(id: number | string): FakeOutput {
    const outputs = this.#requests.get(id)?.outputs ?? [];
    const last = outputs.at(-1);
    for (const later of outputs.slice(1)) {
      assertEquals([later.promptLogprobs, later.cachedTokens], [undefined, undefined]);
    }
    return {
      tokenIds: outputs.flatMap((output) => [...output.tokenIds]),
      logprobs: outputs.flatMap((output) => [...output.logprobs ?? []]),
      promptLogprobs: outputs.at(0)?.promptLogprobs?.slice() ?? null,
      finishReason: last?.finishReason ?? null,
      stopReason: last?.stopReason ?? null,
    };
  }

  /** Checks, after {@linkcode drain}, that each request gave what it gives alone, and that all is free. */
  check(): void {
    let generated = 0;
    for (const { request, aborted } of this.#requests.values()) {
      const output = this.outputOf(request.id);
      const alone = generateAlone(request);
      generated += output.tokenIds.length;
      if (aborted) {
        assertEquals(output.tokenIds, alone.tokenIds.slice(0, output.tokenIds.length));
      } else {
        assertEquals(output, alone);
      }
    }
    const { stats } = this.scheduler;
    assertEquals([stats.running, stats.waiting], [0, 0]);
    assertEquals(stats.kvBlocksFree, stats.kvBlocksTotal);
    assertEquals(stats.generationTokens, generated);
    assertEquals(stats.steps, this.plans.length);
    const collected = [...this.#requests.values()];
    const cached = collected.map(({ outputs }) => outputs.at(0)?.cachedTokens ?? 0);
    const hits = cached.reduce((sum, tokens) => sum + tokens, 0);
    assert(hits <= stats.prefixCacheHits && stats.prefixCacheHits <= stats.prefixCacheQueries);
    // A request that was aborted before its first output does not say what it found.
    if (collected.every(({ aborted }) => !aborted)) assertEquals(stats.prefixCacheHits, hits);
  }
}
