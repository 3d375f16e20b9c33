/**
 * A step between its plan and its results.
 * @module
 */
import type { AdjustmentTables } from "./adjustment_tables.ts";
import { type LogitRow, LogitRows, SequenceResults } from "./logit_rows.ts";
import type { PendingSamples } from "../sampler/samples_landing.ts";
import type { SequenceResult, StepPlan } from "../step_plan.ts";

/** A step whose work has been queued. */
export interface PendingStep {
  /** Number of the step. */
  readonly step: number;
  /** Whether {@linkcode finish} returns without waiting; throws when the work has failed. */
  isReady(): boolean;
  /**
   * On the last stage what every sequence got, else null. Waits under the device's deadline. Called
   * once, and in the order of the steps. The step and its results stay as they are until another is started.
   */
  finish(): readonly SequenceResult[] | null;
}

/** Options of {@linkcode RunningStep}. */
export interface RunningStepOptions {
  /** Whether tokens are drawn here. */
  readonly samples: boolean;
  /** What changes the logits of sequences, by slot. */
  readonly adjustments: AdjustmentTables;
  /** Learns when the object can be used for another step. */
  readonly onFinished: (step: RunningStep) => void;
}

/** One step after the other, each from {@linkcode begin} to {@linkcode finish}, in the same objects. */
export class RunningStep implements PendingStep {
  /** See {@linkcode PendingStep.step}. */
  step = -1;
  /** Rows of logits to sample, padding included. */
  rowsToSample = 0;
  readonly #options: RunningStepOptions;
  readonly #logitRows: LogitRows;
  readonly #results = new SequenceResults();
  #rows: readonly LogitRow[] = [];
  readonly #pending: PendingSamples[] = [];

  /** No step yet. */
  constructor(options: RunningStepOptions) {
    this.#options = options;
    this.#logitRows = new LogitRows(options.adjustments);
  }

  /** Rows of logits that are sampled. */
  get rows(): readonly LogitRow[] {
    return this.#rows;
  }

  /** Takes a plan, which is not looked at later. */
  begin({ step, sequences }: StepPlan): void {
    this.step = step;
    if (!this.#options.samples) return;
    this.#rows = this.#logitRows.of(sequences);
    this.#results.begin(sequences);
  }

  /** Adds what is drawn for the rows that follow those before. */
  add(samples: PendingSamples): void {
    this.#pending.push(samples);
  }

  /** See {@linkcode PendingStep.isReady}. */
  isReady(): boolean {
    for (let part = 0; part < this.#pending.length; part++) {
      if (!this.#pending[part].isReady()) return false;
    }
    return true;
  }

  /** See {@linkcode PendingStep.finish}. */
  finish(): readonly SequenceResult[] | null {
    let first = 0;
    for (let part = 0; part < this.#pending.length; part++) {
      const samples = this.#pending[part].read();
      this.#results.accept(this.#rows, first, samples);
      first += samples.tokens.length;
    }
    while (this.#pending.length > 0) this.#pending.pop();
    this.#options.onFinished(this);
    return this.#options.samples ? this.#results.all : null;
  }
}
