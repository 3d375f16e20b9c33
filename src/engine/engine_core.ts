/**
 * The loop between scheduler and ranks.
 * @module
 */
import type { Executor } from "./executor.ts";
import { QueueTimes } from "./queue_times.ts";
import type { Scheduler, SchedulerOutput, SchedulerRequest } from "./scheduler/scheduler.ts";
import type { StepResult } from "./step_plan.ts";
import type { EngineStats } from "./types.ts";

/** Where a core's news go. */
export interface EngineCoreEvents {
  /**
   * A step has retired, or a request came or went: outputs, which stay as they are until this returns, and the
   * counters after it.
   */
  progress(outputs: readonly SchedulerOutput[], stats: EngineStats): void;
  /** The engine can't go on. Called once. */
  dead(reason: string): void;
}

/**
 * Keeps the ranks busy: hands out plans as long as the scheduler has any, and feeds each result back.
 * Nothing here waits for a device; everything happens when a request arrives or a step retires.
 */
export class EngineCore {
  readonly #scheduler: Scheduler;
  readonly #executor: Executor;
  readonly #events: EngineCoreEvents;
  readonly #queueTimes = new QueueTimes();
  #dead = false;
  #held = false;
  #onStill: (() => void) | null = null;

  /** Connects a scheduler to its ranks. */
  constructor(scheduler: Scheduler, executor: Executor, events: EngineCoreEvents) {
    this.#scheduler = scheduler;
    this.#executor = executor;
    this.#events = events;
    executor.failed.then((reason) => this.#die(reason));
    executor.receive((result) => this.#retire(result));
  }

  /** Counters as of now. */
  get stats(): EngineStats {
    return this.#scheduler.stats;
  }

  /** Queues a request; throws UnsupportedRequestError when it can never run here. */
  add(request: SchedulerRequest): void {
    this.#scheduler.add(request);
    this.#queueTimes.arrived(request.id);
    this.#planSteps();
    this.#events.progress([], this.stats);
  }

  /** Ends a request from the next plan on. */
  abort(id: number): void {
    this.#scheduler.abort(id);
    this.#queueTimes.forget(id);
    this.#planSteps();
    this.#events.progress([], this.stats);
  }

  /** Plans nothing until {@linkcode go}; calls `onStill` when no step is under way any more. */
  hold(onStill: () => void): void {
    this.#held = true;
    this.#onStill = onStill;
    this.#tellStill();
  }

  /** Plans again, where the core was held. */
  go(): void {
    this.#held = false;
    this.#onStill = null;
    this.#planSteps();
  }

  #tellStill(): void {
    if (this.#scheduler.plansInFlight > 0) return;
    this.#onStill?.();
    this.#onStill = null;
  }

  #planSteps(): void {
    if (this.#dead || this.#held) return;
    try {
      for (let plan = this.#scheduler.schedule(); plan; plan = this.#scheduler.schedule()) {
        this.#executor.execute(plan);
      }
      this.#scheduler.takeBegun(this.#queueTimes.begun);
    } catch (error) {
      this.#die(String(error));
    }
  }

  #retire(result: StepResult): void {
    if (this.#dead) return;
    try {
      const outputs = this.#scheduler.update(result);
      this.#planSteps();
      this.#events.progress(this.#queueTimes.tell(outputs), this.stats);
      this.#tellStill();
    } catch (error) {
      this.#die(error instanceof Error ? error.message : String(error));
    }
  }

  #die(reason: string): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#events.dead(reason);
  }
}
