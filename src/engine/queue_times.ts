/**
 * How long requests wait until they are computed.
 * @module
 */
import type { SchedulerOutput } from "./scheduler/scheduler.ts";

/** Times requests from their arrival to their first plan, and puts that into their first output. */
export class QueueTimes {
  readonly #arrivals = new Map<number | string, number>();
  readonly #waited = new Map<number | string, number>();

  /** A request has come. */
  arrived(id: number | string): void {
    this.#arrivals.set(id, performance.now());
  }

  /** It was planned for the first time. */
  readonly begun = (id: number | string): void => {
    const arrival = this.#arrivals.get(id);
    if (arrival === undefined) return;
    this.#arrivals.delete(id);
    this.#waited.set(id, (performance.now() - arrival) / 1000);
  };

  /** It gives no outputs any more. */
  forget(id: number | string): void {
    this.#arrivals.delete(id);
    this.#waited.delete(id);
  }

  /** The outputs, where one is the first of its request with the time that it waited. */
  tell(outputs: readonly SchedulerOutput[]): readonly SchedulerOutput[] {
    if (this.#waited.size === 0) return outputs;
    return outputs.map((output) => {
      const queueSeconds = this.#waited.get(output.id);
      if (queueSeconds === undefined) return output;
      this.#waited.delete(output.id);
      return { ...output, queueSeconds };
    });
  }
}
