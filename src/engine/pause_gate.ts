/**
 * Pausing: who may enter, and who stands still.
 * @module
 */
import { Admission } from "./admission.ts";
import { type PauseMode, WeightsError } from "./weights.ts";

/** What can stand still. */
export interface Holdable {
  /** Lets its requests stand still; resolves when nothing moves, or it goes on or dies. */
  hold(): Promise<void>;
  /** Lets them go on. */
  go(): void;
}

/** The door before an engine's weights, and the requests behind it. */
export class PauseGate<S extends Holdable> {
  /** Where requests enter. */
  readonly admission: Admission<S>;
  readonly #held = new Set<S>();
  #paused: PauseMode | null = null;
  #closed = false;
  /** The set whose last requests are waited for. */
  #draining: S | null = null;
  #ended = false;

  /** An open gate to what `current` returns at the moment of entering. */
  constructor(current: () => S) {
    this.admission = new Admission(current);
  }

  /** How requests are paused, or null. */
  get paused(): PauseMode | null {
    return this.#paused;
  }

  /**
   * New requests wait from now on. Resolves when those behind the gate have ended, or stand still. Throws
   * WeightsError (`conflict`) when another call ends this pause before.
   */
  async pause(mode: PauseMode): Promise<void> {
    this.#paused = mode;
    this.admission.shut();
    this.admission.notify(); // a pause before this one may have been overtaken
    if (mode === "hold") {
      await this.#hold();
    } else {
      this.#goOn(this.#held);
      if (mode === "abort") this.admission.abortAll();
      const overtaken = () => this.#paused === null || this.#paused === "hold";
      await this.admission.until(() => this.admission.active() === 0 || overtaken());
    }
    if (this.#paused !== null && (this.#paused === "hold") === (mode === "hold")) return;
    const what = this.#paused === null
      ? "the engine was resumed"
      : `it pauses with ${this.#paused}`;
    throw new WeightsError(`Cannot pause with ${mode} as another call came in between: ${what}`, {
      reason: "conflict",
    });
  }

  /** Requests go on, unless the gate is closed. */
  resume(): void {
    this.#paused = null;
    this.#goOn(this.#held);
    this.#letIn();
    this.admission.notify();
  }

  /** New requests wait until {@linkcode reopen}, paused or not. */
  close(): void {
    this.#closed = true;
    this.admission.shut();
  }

  /** Ends what {@linkcode close} began. */
  reopen(): void {
    this.#closed = false;
    this.#letIn();
  }

  /** Every request is refused from now on, and nothing is waited for any more. */
  end(refusal: Error): void {
    this.#ended = true;
    this.admission.refuse(refusal);
  }

  /** Waits for the last request on `set`; it goes on even while others stand still. */
  async drain(set: S): Promise<void> {
    this.#draining = set;
    this.#goOn([set]);
    await this.admission.until(() => this.#ended || this.admission.active(set) === 0);
    this.#draining = null;
  }

  /** Whether requests stand still on `set`. */
  standsStill(set: S): boolean {
    if (this.#held.has(set) && this.admission.active(set) === 0) this.#goOn([set]);
    return this.#held.has(set);
  }

  /** Forgets a set that is no more. */
  forget(set: S): void {
    this.#held.delete(set);
  }

  async #hold(): Promise<void> {
    const sets = this.admission.activeSets();
    if (this.#draining !== null) sets.delete(this.#draining);
    await Promise.all([...sets].map((set) => {
      this.#held.add(set);
      return set.hold();
    }));
  }

  #goOn(sets: Iterable<S>): void {
    for (const set of [...sets]) if (this.#held.delete(set)) set.go();
  }

  #letIn(): void {
    if (this.#paused === null && !this.#closed) this.admission.open();
  }
}
