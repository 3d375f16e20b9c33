/**
 * A request inside the router.
 * @module
 */
import type { CoarseTimer, CoarseTimers } from "../../routing/coarse_timers.ts";
import type { RequestGate } from "../request_gate.ts";

/** Time in milliseconds after which a request asks whether its client is still there. */
const WATCH_AFTER_MS = 20;

/** Ends a request whose client does not wait for its answer. */
export class ClientGone extends Error {
  /** Says so. */
  constructor() {
    super("the client has gone");
    this.name = "ClientGone";
  }
}

/** Those who are inside, and what they share. */
export class GuestBook {
  readonly #gate: RequestGate;
  readonly #timers: CoarseTimers;
  readonly #guests = new Set<Guest>();

  /** For requests that enter by `gate`; they end when its signal fires. */
  constructor(gate: RequestGate, timers: CoarseTimers) {
    this.#gate = gate;
    this.#timers = timers;
    const onCancel = (): void => {
      for (const guest of this.#guests) guest.cancel(gate.signal.reason);
    };
    gate.signal.addEventListener("abort", onCancel, { once: true });
  }

  /** Lets a request in until the guest is disposed; throws ApiError as the gate does. */
  enter(request: Request): Guest {
    const place = this.#gate.enter();
    const guest = new Guest(request, this.#timers, () => {
      this.#guests.delete(guest);
      place[Symbol.dispose]();
    });
    this.#guests.add(guest);
    return guest;
  }
}

/**
 * A request inside, and whether anybody still wants its answer. Its own signal is asked for only when it has
 * been inside for a while: that takes longer than most else that a router does.
 */
export class Guest implements Disposable {
  readonly #gone = new AbortController();
  readonly #request: Request;
  readonly #timer: CoarseTimer;
  readonly #leave: () => void;
  #watched: AbortSignal | null = null;

  /** Made by {@linkcode GuestBook.enter}. */
  constructor(request: Request, timers: CoarseTimers, leave: () => void) {
    this.#request = request;
    this.#leave = leave;
    this.#timer = timers.set(() => this.#watch(), WATCH_AFTER_MS);
  }

  /** Fires when nobody wants the answer any more. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  /** Ends the request. */
  cancel(reason: unknown): void {
    this.#gone.abort(reason);
  }

  /** The request has ended. */
  [Symbol.dispose](): void {
    this.#timer.clear();
    this.#watched?.removeEventListener("abort", this.#onAbort);
    this.#leave();
  }

  readonly #onAbort = (): void => this.cancel(new ClientGone());

  #watch(): void {
    this.#watched = this.#request.signal;
    if (this.#watched.aborted) this.#onAbort();
    else this.#watched.addEventListener("abort", this.#onAbort, { once: true });
  }
}
