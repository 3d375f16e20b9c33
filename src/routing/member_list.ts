/**
 * The replicas of a pool, by their names.
 * @module
 */
import { NoReplicaError } from "./errors.ts";
import { Member, type MemberOptions, type RecoveryOptions } from "./member.ts";
import { explainState, statusOf } from "./member_status.ts";
import { FleetOccupancy, Occupancy } from "./occupancy.ts";

/** Options of {@linkcode MemberList}. */
export interface MemberListOptions extends RecoveryOptions {
  /** The time in milliseconds. */
  readonly now: () => number;
  /** Is told when a replica is ejected, and why. */
  readonly onEject?: (id: string, reason: string) => void;
}

/** Replicas that come and go. */
export class MemberList<T> {
  readonly #options: MemberListOptions;
  readonly #fleet: FleetOccupancy;
  readonly #members = new Map<string, Member<T>>();

  /** Without replicas. */
  constructor(options: MemberListOptions) {
    this.#options = options;
    this.#fleet = new FleetOccupancy(options.now);
  }

  /** The replicas by their names, in the order in which they joined. */
  get byId(): ReadonlyMap<string, Member<T>> {
    return this.#members;
  }

  /** The replicas in the order in which they joined. */
  get all(): readonly Member<T>[] {
    return [...this.#members.values()];
  }

  /** True while at least one replica serves. */
  get serve(): boolean {
    return this.all.some(({ serves }) => serves);
  }

  /** Whether no replica serves, and none will soon. */
  get areHopeless(): boolean {
    return !this.all.some(({ serves, returning }) => serves || returning);
  }

  /** What to tell a request when no replica serves. */
  noReplicaError(): NoReplicaError {
    const states = this.all.map(statusOf).map(explainState);
    return new NoReplicaError(
      `Cannot serve the request as no replica can: ${states.join(", ") || "there is none"}`,
      "none",
    );
  }

  /** The replica of a name; throws RangeError when there is none. */
  get(id: string): Member<T> {
    const member = this.#members.get(id);
    if (member === undefined) {
      throw new RangeError(`Cannot find a replica of that name: ${id.slice(0, 200)}`);
    }
    return member;
  }

  /** Whether that very replica is there, and not another one of its name. */
  has(member: Member<T>): boolean {
    return this.#members.get(member.id) === member;
  }

  /** Adds a replica. Throws RangeError when the name is taken or an option is out of range. */
  add(id: string, target: T, options: MemberOptions): Member<T> {
    if (this.#members.has(id)) {
      throw new RangeError(`Cannot add the replica as there is one of that name: ${id}`);
    }
    const member = this.#create(id, target, options);
    this.#members.set(id, member);
    return member;
  }

  /**
   * Puts another replica in the place of one, which it returns: it keeps share of the work, counts and drain, and
   * has no past otherwise.
   */
  replace(id: string, target: T, down: string): Member<T> {
    const old = this.get(id);
    const { weight, maxConcurrency, sent, failed, ejections, draining, returning } = old;
    const member = this.#create(id, target, { weight, maxConcurrency });
    Object.assign(member, { sent, failed, ejections, draining, returning, down });
    this.#members.set(id, member);
    return old;
  }

  /** Takes a replica out. */
  remove(id: string): void {
    this.get(id).draining = true;
    this.#members.delete(id);
  }

  #create(id: string, target: T, options: MemberOptions): Member<T> {
    const { now, openMs, maxOpenMs, failures, slowStartMs, onEject } = this.#options;
    return new Member(id, {
      openMs,
      maxOpenMs,
      failures,
      slowStartMs,
      ...options,
      target,
      now,
      occupancy: new Occupancy(this.#fleet),
      onEject: (reason) => onEject?.(id, reason),
    });
  }
}
