/**
 * Lets requests in to the weights that are current, and knows which are still on which.
 * @module
 */

/** Why a request is stopped from outside: it ends, or it starts again on other weights. */
export type LeaseStop = "abort" | "move";

/** How far an answer is. */
interface Progress {
  /** Whether something of it was given out, so that only the same set can go on with it. */
  begun: boolean;
}

/** An answer of one or more requests. */
interface Answer<S> extends Progress {
  /** Places that its requests have now, all on one set. */
  readonly leases: Set<SetLease<S>>;
}

/** A request's place on one set of weights. */
export class SetLease<S> {
  /** The set that answers it. */
  readonly set: S;
  readonly #progress: Progress;
  readonly #onEnd: () => void;
  #stop: LeaseStop | null = null;
  #onStop: ((stop: LeaseStop) => void) | null = null;

  /** A place on `set`; `onEnd` is called at its end. */
  constructor(
    set: S,
    { progress, onEnd }: { readonly progress: Progress; readonly onEnd: () => void },
  ) {
    this.set = set;
    this.#progress = progress;
    this.#onEnd = onEnd;
  }

  /** Whether something of the answer was given out, by this request or another one for the same answer. */
  get begun(): boolean {
    return this.#progress.begun;
  }

  /** Whether the request has to start again on other weights. */
  get moved(): boolean {
    return this.#stop === "move";
  }

  /** Notes that something is about to be given out; false when it must not be, as the request has to move. */
  begin(): boolean {
    if (this.moved) return false;
    this.#progress.begun = true;
    return true;
  }

  /** Calls `listener` when the request is stopped, at once if it was. */
  onStop(listener: (stop: LeaseStop) => void): void {
    this.#onStop = listener;
    if (this.#stop !== null) listener(this.#stop);
  }

  /** Stops the request; only the first time counts. */
  stop(stop: LeaseStop): void {
    if (this.#stop !== null) return;
    this.#stop = stop;
    this.#onStop?.(stop);
  }

  /** The set has nothing more to do for the request. */
  end(): void {
    this.#onEnd();
  }
}

/** A request at the door. */
export interface Entrant {
  /** Ends the wait. */
  readonly signal?: AbortSignal;
  /** See {@linkcode GenerateRequest.answer}. */
  readonly answer?: object;
}

interface Waiter<S> {
  readonly entrant: Entrant;
  readonly enter: (lease: SetLease<S>) => void;
  readonly refuse: (error: Error) => void;
}

/**
 * The door before an engine's weights. While it is shut requests wait, and are let in in the order in which
 * they came.
 */
export class Admission<S> {
  readonly #current: () => S;
  readonly #waiters = new Set<Waiter<S>>();
  readonly #leases = new Set<SetLease<S>>();
  readonly #answers = new WeakMap<object, Answer<S>>();
  #open = true;
  #refusal: Error | null = null;
  #changed = Promise.withResolvers<void>();

  /** An open door to what `current` returns at the moment of entering. */
  constructor(current: () => S) {
    this.#current = current;
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** Requests that are on `set`, or on any. */
  active(set?: S): number {
    if (set === undefined) return this.#leases.size;
    let count = 0;
    for (const lease of this.#leases) if (lease.set === set) count++;
    return count;
  }

  /** The sets that requests are on. */
  activeSets(): Set<S> {
    return new Set(Array.from(this.#leases, (lease) => lease.set));
  }

  /**
   * A place on the current set; null when the signal fires first. Rejects once requests are refused. A request
   * for an answer that others are at work on joins them on their set, whatever has happened to the door.
   */
  enter(entrant: Entrant): Promise<SetLease<S> | null> {
    const { signal, answer } = entrant;
    if (this.#refusal !== null) return Promise.reject(this.#refusal);
    if (signal?.aborted) return Promise.resolve(null);
    if (this.#open || this.#setOf(answer) !== null) return Promise.resolve(this.#admit(entrant));
    const { promise, resolve, reject } = Promise.withResolvers<SetLease<S> | null>();
    const leave = () => {
      this.#waiters.delete(waiter);
      signal?.removeEventListener("abort", cancel);
    };
    const cancel = () => {
      leave();
      resolve(null);
    };
    const waiter: Waiter<S> = {
      entrant,
      enter: (lease) => {
        leave();
        resolve(lease);
      },
      refuse: (error) => {
        leave();
        reject(error);
      },
    };
    this.#waiters.add(waiter);
    signal?.addEventListener("abort", cancel, { once: true });
    return promise;
  }

  /** Lets in whoever waits, and comes from now on. */
  open(): void {
    this.#open = true;
    for (const waiter of [...this.#waiters]) waiter.enter(this.#admit(waiter.entrant));
    this.notify();
  }

  /** From now on requests wait. */
  shut(): void {
    this.#open = false;
  }

  /** From now on every request is refused, those that wait too. */
  refuse(error: Error): void {
    this.#refusal ??= error;
    for (const waiter of [...this.#waiters]) waiter.refuse(this.#refusal);
    this.notify();
  }

  /** Ends what is on any set with finish reason `abort`. */
  abortAll(): void {
    for (const lease of [...this.#leases]) lease.stop("abort");
  }

  /** Sends back to the door what is on `set` and has given out nothing. */
  moveFrom(set: S): void {
    for (const lease of [...this.#leases]) {
      if (lease.set !== set || lease.begun) continue;
      lease.stop("move");
      lease.end();
    }
  }

  /** Resolves once `condition` holds; looks whenever a request has ended and on {@linkcode notify}. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#changed.promise;
  }

  /** Makes {@linkcode until} look again. */
  notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  #admit({ answer }: Entrant): SetLease<S> {
    const set = this.#setOf(answer) ?? this.#current();
    const whole = this.#answerOf(answer);
    const lease: SetLease<S> = new SetLease(set, {
      progress: whole,
      onEnd: () => {
        whole.leases.delete(lease);
        if (this.#leases.delete(lease)) this.notify();
      },
    });
    whole.leases.add(lease);
    this.#leases.add(lease);
    return lease;
  }

  /** The set that requests for `answer` are on; null when none is. */
  #setOf(answer: object | undefined): S | null {
    if (answer === undefined) return null;
    for (const { set } of this.#answers.get(answer)?.leases ?? []) return set;
    return null;
  }

  #answerOf(answer: object | undefined): Answer<S> {
    const known = answer && this.#answers.get(answer);
    if (known) return known;
    const whole = { begun: false, leases: new Set<SetLease<S>>() };
    if (answer) this.#answers.set(answer, whole);
    return whole;
  }
}
