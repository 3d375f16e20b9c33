/**
 * A fleet whose replicas load, serve, fail and die as a script says, under the real pool, health monitor and routing.
 * @module
 */
import { AttemptError } from "../../../../src/routing/attempt.ts";
import type { RoutedRequest } from "../../../../src/routing/balancing_policy.ts";
import { CoarseTimers } from "../../../../src/routing/coarse_timers.ts";
import { ReplicaPool } from "../../../../src/routing/replica_pool.ts";
import { RetryBudget } from "../../../../src/routing/retry_budget.ts";
import { routeRequest } from "../../../../src/routing/route_request.ts";
import { PoolFleet } from "../../../../src/routing/updates/pool_fleet.ts";
import type {
  ReplicaWeights,
  ReplicaWeightsStatus,
  UpdatableReplica,
  UpdateSource,
} from "../../../../src/routing/updates/updatable_replica.ts";
import { HealthMonitor } from "../../../../src/serving/router/health_monitor.ts";

/** What happens at one of an update's calls: it is rejected, or its replica dies, before or after its work. */
export interface Fault {
  /** Number of the call, over all replicas. */
  readonly call: number;
  readonly kind: "rejects" | "rejects late" | "dies" | "dies late";
}

export const OLD: ReplicaWeights = { version: "old", model: "/models/old" };
export const NEW: ReplicaWeights = { version: "new", model: "/models/new" };

/** Time in milliseconds after which a dead replica is started again. */
const RESTART_MS = 15;

/** A replica in this process. */
class SimulatedReplica implements UpdatableReplica {
  readonly id: string;
  readonly #fleet: SimulatedFleet;
  alive = true;
  paused = false;
  status: ReplicaWeightsStatus = { current: OLD, prepared: null, previous: null };
  #running = 0;
  #lives = 0;
  #gate: PromiseWithResolvers<void> | null = null;
  #changing = false;

  constructor(id: string, fleet: SimulatedFleet) {
    this.id = id;
    this.#fleet = fleet;
  }

  weights(): Promise<ReplicaWeightsStatus> {
    return this.#call("weights", () => this.status);
  }

  pause(): Promise<void> {
    return this.#call("pause", () => void (this.paused = true));
  }

  resume(): Promise<void> {
    return this.#call("resume", () => void (this.paused = false));
  }

  prepare(source: UpdateSource): Promise<ReplicaWeights> {
    return this.#change("prepare", () => {
      const { prepared, previous } = this.status;
      if ((prepared ?? previous) !== null) throw new Error("others are kept");
      return this.#set({ prepared: loaded(source) }).prepared!;
    });
  }

  activate(): Promise<ReplicaWeights> {
    return this.#call("activate", () => {
      const { current, prepared } = this.status;
      if (prepared === null) throw new Error("nothing is prepared");
      return this.#set({ current: prepared, prepared: null, previous: current }).current;
    });
  }

  revert(): Promise<ReplicaWeights> {
    return this.#call("revert", () => {
      const { current, previous } = this.status;
      if (previous === null) throw new Error("nothing was before");
      return this.#set({ current: previous, prepared: current, previous: null }).current;
    });
  }

  release(): Promise<void> {
    return this.#change("release", async () => {
      await pause(1);
      this.#set({ prepared: null, previous: null });
    });
  }

  update(source: UpdateSource): Promise<ReplicaWeights> {
    return this.#change("update", async () => {
      const { prepared, previous } = this.status;
      if ((prepared ?? previous) !== null) throw new Error("others are kept");
      this.#gate = Promise.withResolvers();
      try {
        while (this.#running > 0) await pause(1);
        await pause(2);
        return this.#set({ current: loaded(source), prepared: null, previous: null }).current;
      } finally {
        this.#gate.resolve();
        this.#gate = null;
      }
    });
  }

  check(
    set: "current" | "prepared",
    prompts: readonly (readonly number[])[],
  ): Promise<readonly (readonly number[])[]> {
    return this.#call("check", () => {
      if (this.status[set] === null) throw new Error(`nothing is ${set}`);
      return prompts.map(() => [this.#fleet.answer]);
    });
  }

  /** Generates for some time; the version that answered. Throws AttemptError when the replica is dead. */
  async serve(milliseconds: number): Promise<string> {
    this.#living();
    while (this.#gate !== null) await this.#gate.promise;
    const { version } = this.status.current;
    const lives = this.#lives;
    this.#running++;
    try {
      await pause(milliseconds);
    } finally {
      this.#running--;
    }
    if (!this.alive || lives !== this.#lives) {
      throw new AttemptError(`${this.id} has died`, { failure: "lost" });
    }
    if (this.#fleet.failing?.(version)) throw new AttemptError("says 500", { failure: "failed" });
    const has = [this.status.current, this.status.previous, this.status.prepared];
    if (!has.some((set) => set?.version === version)) {
      throw new Error(`the weights ${version} went away while they answered`);
    }
    return version;
  }

  /** Resolves when it generates. */
  probe(): Promise<void> {
    this.#living();
    return this.#gate?.promise ?? Promise.resolve();
  }

  die(): void {
    this.alive = false;
    this.#lives++;
    setTimeout(() => {
      const current = loaded(this.#fleet.committed);
      this.status = { current, prepared: null, previous: null };
      this.paused = false;
      this.alive = true;
    }, RESTART_MS);
  }

  #set(changes: Partial<ReplicaWeightsStatus>): ReplicaWeightsStatus {
    return this.status = { ...this.status, ...changes };
  }

  #living(): void {
    if (!this.alive) throw new AttemptError(`${this.id} is dead`, { failure: "lost" });
  }

  #change<T>(verb: string, work: () => T | Promise<T>): Promise<T> {
    return this.#call(verb, async () => {
      if (this.#changing) throw new Error("one change at a time");
      this.#changing = true;
      try {
        return await work();
      } finally {
        this.#changing = false;
      }
    });
  }

  async #call<T>(verb: string, work: () => T | Promise<T>): Promise<T> {
    await pause(0);
    this.#living();
    const kind = this.#fleet.next(verb);
    if (kind === "rejects") throw new Error(`${verb} was rejected`);
    if (kind === "dies") this.die();
    this.#living();
    const result = await work();
    if (kind === "dies late") this.die();
    this.#living();
    if (kind === "rejects late") throw new Error(`${verb} was lost`);
    return result;
  }
}

/** Replicas, and clients that send requests to them all the time. */
export class SimulatedFleet implements Disposable {
  readonly replicas: readonly SimulatedReplica[];
  readonly pool: ReplicaPool<SimulatedReplica>;
  readonly fleet: PoolFleet<SimulatedReplica>;
  /** What replicas start with. */
  committed: UpdateSource = OLD;
  /** What golden prompts are answered with. */
  answer = 7;
  /** Whether requests on a version fail. */
  failing: ((version: string) => boolean) | null = null;
  /** Is told the number of each call. */
  onCall: (call: number) => void = () => {};
  /** Verbs that were called. */
  readonly calls: string[] = [];
  /** Versions that each client got, in order. */
  readonly versions: string[][] = [];
  /** Why requests failed. */
  readonly failures: string[] = [];
  readonly #faults: readonly Fault[];
  readonly #monitor: HealthMonitor<SimulatedReplica>;
  #clients: Promise<void>[] = [];
  readonly #timers = new CoarseTimers();
  #serving = true;

  constructor(count: number, faults: readonly Fault[] = []) {
    this.#faults = faults;
    this.pool = new ReplicaPool({ slowStartMs: 0, openMs: 5, maxOpenMs: 5 });
    this.#monitor = new HealthMonitor(this.pool, {
      probe: (replica) => replica.probe(),
      intervalMs: 5,
      timeoutMs: 1000,
    });
    this.replicas = Array.from({ length: count }, (_, i) => new SimulatedReplica(`r${i}`, this));
    for (const replica of this.replicas) {
      this.pool.add(replica.id, replica);
      this.#monitor.watch(replica.id);
    }
    this.fleet = new PoolFleet(this.pool, {
      replicaOf: (_, replica) => replica,
      watch: (id) => this.#monitor.watch(id),
      unwatch: (id) => this.#monitor.unwatch(id),
      commit: (source) => void (this.committed = source),
    });
  }

  /** What happens at the next call. */
  next(verb: string): Fault["kind"] | null {
    const call = this.calls.push(verb) - 1;
    this.onCall(call);
    return this.#faults.find((fault) => fault.call === call)?.kind ?? null;
  }

  /** Starts clients that send one request after the other, each on a connection of its own. */
  load(clients: number): void {
    this.#clients = Array.from({ length: clients }, (_, i) => this.#send(`10.0.0.1:${i}`));
  }

  /** Ends the clients. */
  async quiet(): Promise<void> {
    this.#serving = false;
    await Promise.all(this.#clients);
  }

  [Symbol.dispose](): void {
    this.#monitor[Symbol.dispose]();
    this.#timers[Symbol.dispose]();
  }

  async #send(connection: string): Promise<void> {
    const versions: string[] = [];
    this.versions.push(versions);
    const request: RoutedRequest = {
      tokens: 1,
      stream: false,
      session: null,
      prefix: [],
      connection,
    };
    const observer = { retried() {}, hedged() {}, hedgeWon() {} };
    while (this.#serving) {
      try {
        const { lease, result } = await routeRequest({
          pool: this.pool,
          budget: new RetryBudget(),
          request,
          attempt: async (lease) => {
            const version = await lease.target.serve(versions.length % 3);
            lease.received();
            return version;
          },
          queueDeadlineMs: 5000,
          firstByteTimeoutMs: 5000,
          timers: this.#timers,
          hedgeAfterMs: null,
          observer,
          signal: new AbortController().signal,
        });
        lease.end("served");
        versions.push(result);
      } catch (error) {
        this.failures.push((error as Error).message);
        await pause(1);
      }
    }
  }
}

/** Waits. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** As replicas do, it says where a link leads. */
function loaded({ model, version = model.split("/").at(-1)! }: UpdateSource): ReplicaWeights {
  return { model: model.replace(/^\/links\//, "/models/"), version };
}
