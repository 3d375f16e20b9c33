/**
 * One request's place at one replica.
 * @module
 */
import type { RoutedOutcome, RoutedRequest } from "./balancing_policy.ts";
import type { Member } from "./member.ts";

/** What a pool wants to know of a lease. */
export interface LeaseOwner<T> {
  /** The lease has ended. */
  release(lease: Lease<T>, outcome: LeaseOutcome): void;
  /** The first byte of its answer has come after so many milliseconds. */
  begun(lease: Lease<T>, milliseconds: number): void;
}

/**
 * How a request ended at a replica. `cancelled` says nothing about the replica; `outrun`: another one began
 * to answer the same request before; `full`: it has no room for more than the requests that it has.
 */
export type LeaseOutcome = "served" | "failed" | "cancelled" | "outrun" | "full";

/** What a pool says of a place that it gives. */
export interface LeaseOptions<T> {
  /** The replica. */
  readonly member: Member<T>;
  /** What was asked. */
  readonly request: RoutedRequest;
  /** Whether the request was sent elsewhere before. */
  readonly moved: boolean;
  /** The time in milliseconds. */
  readonly now: () => number;
}

/** A request's place at a replica, from when it is chosen until the answer has ended. Disposing cancels. */
export class Lease<T> implements Disposable {
  /** The replica. */
  readonly member: Member<T>;
  /** What was asked. */
  readonly request: RoutedRequest;
  /** Whether the request was sent elsewhere before. */
  readonly moved: boolean;
  /** Tokens that the replica had not begun with when the request was sent, its own among them. */
  readonly tokensAhead: number;
  /** Is told when the request should be taken back, as another replica has nothing to do or this one is out. */
  onWithdrawn: (() => void) | null = null;
  readonly #owner: LeaseOwner<T>;
  readonly #now: () => number;
  readonly #sentAt: number;
  #firstByteMs: number | null = null;
  #withdrawn = false;
  #ended = false;

  /** Made by the pool. */
  constructor(owner: LeaseOwner<T>, { member, request, moved, now }: LeaseOptions<T>) {
    this.#owner = owner;
    this.member = member;
    this.request = request;
    this.moved = moved;
    this.tokensAhead = member.tokensWaiting + request.tokens;
    this.#now = now;
    this.#sentAt = now();
  }

  /** Names the replica. */
  get id(): string {
    return this.member.id;
  }

  /** What the request is to be sent to. */
  get target(): T {
    return this.member.target;
  }

  /** Whether the replica has no other request of this router. */
  get alone(): boolean {
    return this.member.leases.size === 1;
  }

  /** Milliseconds since the request was sent. */
  get ageMs(): number {
    return this.#now() - this.#sentAt;
  }

  /** True once the first byte has come. */
  get started(): boolean {
    return this.#firstByteMs !== null;
  }

  /** True once the request was taken back. */
  get withdrawn(): boolean {
    return this.#withdrawn;
  }

  /** Takes the request back, if nothing has come of it yet. */
  withdraw(): void {
    if (this.started || this.#ended || this.#withdrawn) return;
    this.#withdrawn = true;
    this.onWithdrawn?.();
  }

  /** Bytes of the answer have come. */
  received(): void {
    const now = this.#now();
    this.member.lastSign = now;
    if (this.started || this.#ended) return;
    this.#firstByteMs = now - this.#sentAt;
    this.#owner.begun(this, this.#firstByteMs);
  }

  /** The request has ended; what comes later says nothing more. */
  end(outcome: LeaseOutcome): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#owner.release(this, outcome);
  }

  /** Its times, for a policy, when it ends in that way. */
  outcome(outcome: LeaseOutcome): RoutedOutcome {
    const { stream } = this.request;
    const totalMs = this.ageMs;
    // It would have taken even longer; a policy that heard nothing of that would send it more.
    const firstByteMs = outcome === "outrun" ? totalMs : this.#firstByteMs;
    return {
      stream,
      firstByteMs: stream ? firstByteMs : null,
      totalMs,
      failed: outcome === "failed",
    };
  }

  /** Cancels. */
  [Symbol.dispose](): void {
    this.end("cancelled");
  }
}
