/**
 * The answers of a batch on their way into its output.
 * @module
 */
import { answerBatch, type BatchServer } from "../serving/batch/answer_batch.ts";
import type { BatchRequest } from "../serving/batch/batch_input.ts";
import type { BatchOutput } from "../serving/batch/batch_output.ts";
import type { ResultOrder } from "../serving/batch/map_in_window.ts";
import {
  type PhaseFigures,
  planScaling,
  scalingEfficiency,
} from "../serving/batch/scaling_phases.ts";
import type { BatchDisplay } from "./batch_display.ts";
import type { BatchReplicas } from "./batch_replicas.ts";

/** Options of {@linkcode BatchRun}. */
export interface BatchRunOptions {
  /** Where answers go. */
  readonly output: BatchOutput;
  /** Order of the answers. */
  readonly order: ResultOrder;
  /** Where progress is shown. */
  readonly display: BatchDisplay;
  /** Ends the run. */
  readonly signal: AbortSignal;
}

/** Sums over the answers of a run. */
export interface BatchTotals {
  /** Requests that were answered, failed ones among them. */
  readonly requests: number;
  /** Requests that failed. */
  readonly errors: number;
  /** Tokens of prompts. */
  readonly promptTokens: number;
  /** Tokens that were generated. */
  readonly generationTokens: number;
}

/** What was measured of how replicas scale. */
export interface ScalingFigures {
  /** Tokens of prompts and answers in a second that one replica computed alone. */
  readonly alone: number;
  /** The same of all together. */
  readonly together: number;
  /** `together` over that of as many as one alone. */
  readonly efficiency: number;
  /** How long the shorter of the two was measured. */
  readonly seconds: number;
}

/** Sends requests, writes their answers, and keeps count. */
export class BatchRun {
  readonly #options: BatchRunOptions;
  #totals: BatchTotals = { requests: 0, errors: 0, promptTokens: 0, generationTokens: 0 };
  #seconds = 0;

  /** Nothing is answered yet. */
  constructor(options: BatchRunOptions) {
    this.#options = options;
  }

  /** Sums so far. */
  get totals(): BatchTotals {
    return this.#totals;
  }

  /** Seconds in which requests were answered. */
  get seconds(): number {
    return this.#seconds;
  }

  /** Answers requests, all of them or the next `count`. Rejects as {@linkcode answerBatch} does. */
  async answer(
    requests: AsyncGenerator<BatchRequest, void, void>,
    { server, patienceMs, count = Infinity }: {
      readonly server: BatchServer;
      readonly patienceMs: number;
      readonly count?: number;
    },
  ): Promise<PhaseFigures> {
    const { output, display, order, signal } = this.#options;
    const before = this.#seconds;
    const start = performance.now();
    const answers = answerBatch(next(requests, count), { server, order, patienceMs, signal });
    let tokens = 0;
    for await (const { line, promptTokens, generationTokens } of answers) {
      await output.append(line);
      tokens += promptTokens + generationTokens;
      const { requests, errors, ...sums } = this.#totals;
      this.#totals = {
        requests: requests + 1,
        errors: errors + (line.error === null ? 0 : 1),
        promptTokens: sums.promptTokens + promptTokens,
        generationTokens: sums.generationTokens + generationTokens,
      };
      this.#seconds = before + (performance.now() - start) / 1000;
      display.show(this.#totals, this.#seconds);
    }
    return { tokens, seconds: this.#seconds - before };
  }

  /** Answers the first `total` requests in phases that measure how the replicas scale, as many as that needs. */
  async measureScaling(
    requests: AsyncGenerator<BatchRequest, void, void>,
    { replicas, total }: { readonly replicas: BatchReplicas; readonly total: number },
  ): Promise<ScalingFigures> {
    const { first, all, patienceMs } = replicas;
    const plan = planScaling(total, { replicas: replicas.count, concurrency: first.concurrency });
    const phase = (server: BatchServer, count: number): Promise<PhaseFigures> =>
      this.answer(requests, { server, patienceMs, count });
    await phase(all, plan.warmUp);
    const alone = await phase(first, plan.alone);
    const together = await phase(all, plan.together);
    return {
      alone: alone.tokens / alone.seconds,
      together: together.tokens / together.seconds,
      efficiency: scalingEfficiency({ alone, together }, replicas.count),
      seconds: Math.min(alone.seconds, together.seconds),
    };
  }
}

/** The next items of a stream, which goes on afterwards. */
async function* next<T>(items: AsyncGenerator<T, void, void>, count: number): AsyncGenerator<T> {
  for (let i = 0; i < count; i++) {
    const { done, value } = await items.next();
    if (done) return;
    yield value;
  }
}
