/**
 * The replicas of a router: who is in, who may serve, and who gets the next request.
 * @module
 */
import type { BalancingPolicy, RoutedOutcome, RoutedRequest } from "./balancing_policy.ts";
import { Lease, type LeaseOutcome, type LeaseOwner } from "./lease.ts";
import type { Member, MemberOptions, RecoveryOptions } from "./member.ts";
import { MemberList } from "./member_list.ts";
import { type MemberStatus, statusOf } from "./member_status.ts";
import type { OccupancyReading } from "./occupancy.ts";
import { OutlierEjection, type OutlierEjectionOptions } from "./outlier_ejection.ts";
import { LeastLoadedPolicy } from "./policies/least_loaded.ts";
import { type CandidateOptions, TrafficControl } from "./traffic_control.ts";
import type { TrafficSplit } from "./traffic_split.ts";
import { WaitingQueue } from "./waiting_queue.ts";

/** Options of {@linkcode ReplicaPool}. */
export interface ReplicaPoolOptions extends RecoveryOptions {
  /** How a replica is chosen. Default {@linkcode LeastLoadedPolicy}. */
  readonly policy?: BalancingPolicy;
  /** Requests that wait for a place at most. Default 1024. */
  readonly maxQueued?: number;
  /** When replicas are ejected that answer far later than others. */
  readonly outliers?: OutlierEjectionOptions;
  /** Is told when a replica is ejected, and why. */
  readonly onEject?: (id: string, reason: string) => void;
}

/** What a request asks of the pool beside a place. */
export interface AcquireOptions {
  /** Replicas that have failed the request: taken only where there are no others. */
  readonly avoid?: ReadonlySet<string>;
  /** Time to wait for a place at most, in milliseconds. Default 30000. */
  readonly deadlineMs?: number;
  /** Gives up waiting. */
  readonly signal?: AbortSignal;
}

/** Is told how a request ended at a replica; cancelled ones are left out. */
export type OutcomeListener = (id: string, outcome: RoutedOutcome) => void;

/**
 * Replicas of one model that come, go, fail and return, and the requests that wait for one of them. It
 * sends nothing itself: a caller asks for a place, sends, and says how it went.
 *
 * Requests wait in the pool when every replica has as many as it takes, in the order in which they came,
 * and each goes to the replica that first has room. When one has nothing to do, a streamed request is taken
 * back that another has not started, where one has at least two of those.
 */
export class ReplicaPool<T> implements LeaseOwner<T> {
  readonly #policy: BalancingPolicy;
  readonly #now: () => number;
  readonly #members: MemberList<T>;
  readonly #outliers: OutlierEjection<T>;
  readonly #queue: WaitingQueue<Lease<T>>;
  readonly #drained = new Map<Member<T>, PromiseWithResolvers<void>>();
  readonly #listeners = new Set<OutcomeListener>();
  readonly #traffic = new TrafficControl<T>();

  /** Without replicas. */
  constructor(options: ReplicaPoolOptions = {}) {
    this.#policy = options.policy ?? new LeastLoadedPolicy();
    this.#now = options.now ?? (() => performance.now());
    this.#members = new MemberList({ ...options, now: this.#now });
    this.#outliers = new OutlierEjection(this.#members.byId, {
      ...options.outliers,
      now: this.#now,
    });
    this.#queue = new WaitingQueue(options.maxQueued ?? 1024);
  }

  /** Name of the balancing policy. */
  get balancing(): string {
    return this.#policy.name;
  }

  /** Requests that wait for a place. */
  get queued(): number {
    return this.#queue.size;
  }

  /** The replicas, in the order in which they joined. */
  get members(): readonly MemberStatus[] {
    return this.#members.all.map(statusOf);
  }

  /** True while at least one replica serves. */
  get serves(): boolean {
    return this.#members.serve;
  }

  /** What is sent to a replica; throws RangeError when there is none of that name. */
  target(id: string): T {
    return this.#members.get(id).target;
  }

  /**
   * Adds a replica; with `down` one that does not serve yet, and why. Throws RangeError when the name is taken
   * or an option is out of range.
   */
  add(id: string, target: T, options: MemberOptions & { readonly down?: string } = {}): void {
    this.#members.add(id, target, options).down = options.down ?? null;
    this.#serveQueue();
  }

  /**
   * Puts another replica in the place of one: it does not serve yet (`down` says why), keeps share of the work,
   * counts and drain, and has no past otherwise. What the old one has not started is taken back.
   */
  replace(id: string, target: T, down: string): void {
    const { leases } = this.#members.replace(id, target, down);
    this.#forget(id);
    for (const lease of leases) lease.withdraw();
    this.#failQueueWithoutReplicas();
  }

  /** Takes a replica out at once. Requests that it has go on; {@linkcode drain} waits for them. */
  remove(id: string): void {
    this.#members.remove(id);
    this.#forget(id);
    this.#failQueueWithoutReplicas();
  }

  /**
   * Gives a replica no more requests; resolves when it has ended those that it has. Where no other one serves
   * requests wait for one that `returns`, and else are refused.
   */
  drain(id: string, { returns = false }: { readonly returns?: boolean } = {}): Promise<void> {
    const member = this.#members.get(id);
    member.draining = true;
    member.returning = returns;
    this.#failQueueWithoutReplicas();
    return this.quiet(id);
  }

  /** Resolves when a replica has ended the requests that it has. */
  quiet(id: string): Promise<void> {
    const member = this.#members.get(id);
    if (member.leases.size === 0) return Promise.resolve();
    let drained = this.#drained.get(member);
    if (drained === undefined) this.#drained.set(member, drained = Promise.withResolvers());
    return drained.promise;
  }

  /** Gives a drained replica requests again. */
  resume(id: string): void {
    const member = this.#members.get(id);
    member.draining = false;
    member.returning = false;
    this.#serveQueue();
  }

  /** Changes a replica's share of the work. */
  setWeight(id: string, weight: number): void {
    const member = this.#members.get(id);
    if (!(weight > 0 && weight < Infinity)) {
      throw new RangeError(`Cannot weigh the replica ${id} as that is not positive: ${weight}`);
    }
    member.weight = weight;
  }

  /** A replica is known not to serve, until {@linkcode setUp}. Requests that it has not started are taken back. */
  setDown(id: string, reason: string): void {
    const member = this.#members.get(id);
    member.setDown(reason);
    for (const lease of member.leases) lease.withdraw();
    this.#failQueueWithoutReplicas();
  }

  /** A replica is known to serve; it starts slowly when it was down. */
  setUp(id: string): void {
    this.#members.get(id).setUp();
    this.#serveQueue();
  }

  /** A probe of a replica was answered: as good as a request, so that an ejected one may come back. */
  probed(id: string): void {
    const member = this.#members.get(id);
    member.excusedUntil = this.#now();
    member.breaker.enter();
    member.breaker.succeed();
    this.#serveQueue();
  }

  /**
   * Ejects replicas that are stuck: silent for far longer than others need, with streams waiting. Those are
   * taken back. To be called again and again. While requests are held replicas may be paused: then it waits.
   */
  ejectStuck(): void {
    if (this.#traffic.held) {
      for (const member of this.#members.all) member.excusedUntil = this.#now();
      return;
    }
    this.#outliers.ejectStuck();
    this.#failQueueWithoutReplicas();
  }

  /** How long a replica has had how many requests so far, and how many replicas had any meanwhile. */
  occupancy(id: string): OccupancyReading {
    return this.#members.get(id).occupancy.read();
  }

  /** Milliseconds since a replica last gave a sign of life; Infinity when it never did. */
  silentMs(id: string): number {
    return this.#now() - this.#members.get(id).lastSign;
  }

  /**
   * Requests wait, until every hold is disposed: no replica gets a new one, and none is refused because no
   * replica serves. Their deadlines run on.
   */
  hold(): Disposable {
    return this.#traffic.hold(() => {
      this.#serveQueue();
      this.#failQueueWithoutReplicas();
    });
  }

  /** Divides requests among replicas with new weights and with old ones; null for no division. */
  divide(split: TrafficSplit | null): void {
    this.#traffic.divide(split);
    this.#serveQueue();
  }

  /** Tells `listener` how requests end, until disposed. */
  observe(listener: OutcomeListener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /** A place, if one is free now; else null. Throws NoReplicaError when no replica serves. */
  tryAcquire(request: RoutedRequest, avoid?: ReadonlySet<string>): Lease<T> | null {
    if (this.#traffic.held) return null;
    if (this.#members.areHopeless) throw this.#members.noReplicaError();
    const moved = avoid !== undefined && avoid.size > 0;
    const candidates = this.#candidates(request, { avoid: avoid ?? new Set(), again: moved });
    return this.#choose(candidates, { request, moved });
  }

  /** A place at a replica that is none of `except`, if one is free now; else null. */
  tryAcquireOther(request: RoutedRequest, except: ReadonlySet<string>): Lease<T> | null {
    if (this.#traffic.held) return null;
    const others = this.#candidates(request, { avoid: except, again: false })
      .filter(({ id }) => !except.has(id));
    return this.#choose(others, { request, moved: true });
  }

  /**
   * A place as soon as one is free. Rejects with NoReplicaError when no replica serves, too many wait, or
   * the deadline passes, and with the signal's reason when that fires.
   */
  async acquire(request: RoutedRequest, options: AcquireOptions = {}): Promise<Lease<T>> {
    const lease = this.tryAcquire(request, options.avoid);
    if (lease !== null) return lease;
    return await this.#queue.wait(() => this.tryAcquire(request, options.avoid), {
      deadlineMs: options.deadlineMs ?? 30_000,
      signal: options.signal,
    });
  }

  /** See {@linkcode Lease.received}. */
  begun(lease: Lease<T>, milliseconds: number): void {
    lease.member.tokensWaiting -= lease.request.tokens;
    this.#outliers.note(lease, milliseconds);
  }

  /** See {@linkcode Lease.end}. */
  release(lease: Lease<T>, outcome: LeaseOutcome): void {
    const { member } = lease;
    member.leases.delete(lease);
    member.occupancy.change(member.leases.size);
    member.tokens -= lease.request.tokens;
    if (!lease.started) {
      member.tokensWaiting -= lease.request.tokens;
      if (outcome === "outrun") this.#outliers.note(lease, lease.ageMs);
    }
    member.note(outcome);
    const isMember = this.#members.has(member);
    if (isMember && outcome !== "cancelled" && outcome !== "full") {
      const routed = lease.outcome(outcome);
      this.#policy.ended?.(member.id, routed);
      for (const listener of this.#listeners) listener(member.id, routed);
    }
    if (member.leases.size === 0) {
      this.#drained.get(member)?.resolve();
      this.#drained.delete(member);
    }
    this.#serveQueue();
    if (outcome === "failed") this.#failQueueWithoutReplicas();
    if (isMember && member.hasPlace && member.leases.size === 0) this.#steal();
  }

  #candidates(request: RoutedRequest, options: CandidateOptions): readonly Member<T>[] {
    return this.#traffic.candidates(this.#members.all, request, options);
  }

  /** Under a split the first in the queue may wait for one side while the other has room. */
  #serveQueue(): void {
    this.#queue.serve({ pastFirst: this.#traffic.divided && !this.#traffic.held });
  }

  #choose(
    candidates: readonly Member<T>[],
    { request, moved }: { readonly request: RoutedRequest; readonly moved: boolean },
  ): Lease<T> | null {
    if (candidates.length === 0) return null;
    const { id } = this.#policy.select(candidates.map(({ load }) => load), request);
    const member = this.#members.get(id);
    const lease = new Lease<T>(this, { member, request, moved, now: this.#now });
    member.leases.add(lease);
    member.occupancy.change(member.leases.size);
    member.tokens += request.tokens;
    member.tokensWaiting += request.tokens;
    member.sent++;
    member.breaker.enter();
    this.#policy.sent?.(member.id, request);
    this.#traffic.sent(request, member);
    return lease;
  }

  #forget(id: string): void {
    this.#policy.left?.(id);
    this.#outliers.left(id);
  }

  /**
   * Somebody has nothing to do: takes the request back that waits last where most have not started. Of one
   * that is answered in one piece nobody knows, and it may be nearly done.
   */
  #steal(): void {
    if (this.#traffic.divided) return; // Whoever is idle may not be one who may have it.
    let youngest: Lease<T> | undefined;
    let most = 1;
    for (const { leases } of this.#members.all) {
      const waiting = [...leases].filter(({ started, request }) => !started && request.stream);
      if (waiting.length > most) [youngest, most] = [waiting.at(-1), waiting.length];
    }
    youngest?.withdraw();
  }

  #failQueueWithoutReplicas(): void {
    if (this.#queue.size > 0 && !this.#traffic.held && this.#members.areHopeless) {
      this.#queue.fail(this.#members.noReplicaError());
    }
  }
}
