/**
 * The router over replicas as a Hono app.
 * @module
 */
import type { BalancingPolicy } from "../../routing/balancing_policy.ts";
import { CoarseTimers } from "../../routing/coarse_timers.ts";
import type { MemberStatus } from "../../routing/member_status.ts";
import type { OutlierEjectionOptions } from "../../routing/outlier_ejection.ts";
import { ReplicaPool } from "../../routing/replica_pool.ts";
import { ModelUpdateManager } from "../../routing/updates/model_update_manager.ts";
import { PoolFleet } from "../../routing/updates/pool_fleet.ts";
import type { UpdateSource } from "../../routing/updates/updatable_replica.ts";
import type { ApiKeys } from "../authentication.ts";
import type { ConnectionInfo } from "../connection_info.ts";
import type { KeyLimitOptions } from "../key_limits.ts";
import type { BodyLimits } from "../request_body.ts";
import type { RequestGate } from "../request_gate.ts";
import type { RequestRecord } from "../request_log.ts";
import type { ForwardDeadlines } from "./forward.ts";
import { HealthMonitor } from "./health_monitor.ts";
import type { HttpReplica } from "./http_replica.ts";
import { HttpUpdatableReplica } from "./http_updatable_replica.ts";
import { probeEngine, probeReplica } from "./probe.ts";
import { type JoinOptions, ReplicaRegistry } from "./replica_registry.ts";
import { createRouterApp, type RouterApp } from "./router_app.ts";
import { RouterMetrics } from "./router_metrics.ts";
import { ScalingMonitor } from "./scaling_monitor.ts";
import { readTokenCounters } from "./token_counters.ts";

/** Options of {@linkcode RouterServer}. */
export interface RouterServerOptions extends ApiKeys {
  /** How a replica is chosen. Default least-loaded. */
  readonly policy?: BalancingPolicy;
  /** Limits of what is asked with each API key; of all requests where no key is asked for. Default: none. */
  readonly keyLimits?: KeyLimitOptions;
  /** Admission; share it with a listener so that a shutdown drains. Default: one of its own. */
  readonly gate?: RequestGate;
  /**
   * Replicas are the engines of one weft server: `/health` and `/metrics` also tell what each says of itself, under
   * its name, and probes ask for its health. Default: they are strangers; only what the router sees of them is
   * told, and probes let them generate a token.
   */
  readonly engines?: { readonly modelName: string };
  /** Limits of bodies. Default 8 MiB in 30 s. */
  readonly limits?: Partial<BodyLimits>;
  /** Default: 30 s for a replica with room, 60 s to a first byte, 600 s for a whole answer, 120 s of silence. */
  readonly deadlines?: Partial<ForwardDeadlines>;
  /**
   * Time in milliseconds after which a stream that has not begun is sent to a second replica, too: the first
   * byte wins, and the retry budget pays. Default null: never.
   */
  readonly hedgeAfterMs?: number | null;
  /** When replicas are ejected that answer far later than others. */
  readonly outliers?: OutlierEjectionOptions;
  /** Requests that wait for a replica with room at most. Default 1024. */
  readonly maxQueued?: number;
  /** Rejects when a replica does not work. Default: as `engines` says. */
  readonly probe?: (replica: HttpReplica, signal: AbortSignal) => Promise<void>;
  /** Time between two probes of a replica, and that one may take, in milliseconds. Default 5000. */
  readonly probeMs?: number;
  /**
   * Time in milliseconds for which a replica is ejected that failed three requests in a row, or is far slower than
   * others; it doubles with each time in a row, up to 30 s. Default 1000.
   */
  readonly ejectionMs?: number;
  /** Time over which a replica that came back gets its full share, in milliseconds. Default 10000. */
  readonly slowStartMs?: number;
  /** Receives unexpected errors, which clients see as a 500 without details, and the requests that met them. */
  readonly onError?: (error: unknown, requestId?: string) => void;
  /** Is told of every request that has been answered. */
  readonly onRequest?: (record: RequestRecord) => void;
  /** Is told when a replica goes down (with the reason) or comes back (null). */
  readonly onChange?: (id: string, reason: string | null) => void;
  /** Is told when a replica is ejected, and why. */
  readonly onEject?: (id: string, reason: string) => void;
  /** Is told when replicas should start with other weights than before: an update was made, or taken back. */
  readonly onCommit?: (weights: UpdateSource) => void;
}

/** Time between two looks for replicas that are stuck, in milliseconds. */
const LOOK_MS = 100;

/**
 * Routes the OpenAI API over replicas at addresses of their own. Disposing ends the probes.
 *
 * @example
 * ```ts no-assert
 * import { RouterServer } from "@weft/weft/server";
 * using router = new RouterServer();
 * await router.join("http://127.0.0.1:8001");
 * Deno.serve({ port: 8000 }, router.fetch);
 * ```
 */
export class RouterServer implements Disposable {
  readonly #registry: ReplicaRegistry;
  readonly #pool: ReplicaPool<HttpReplica>;
  readonly #monitor: HealthMonitor<HttpReplica>;
  readonly #scaling: ScalingMonitor<HttpReplica>;
  readonly #updates: ModelUpdateManager;
  readonly #app: RouterApp;
  readonly #look: ReturnType<typeof setInterval>;
  readonly #timers = new CoarseTimers();

  /** Without replicas. Throws RangeError when an option is out of range, or a key is not printable ASCII. */
  constructor(options: RouterServerOptions = {}) {
    const { policy, maxQueued, slowStartMs, outliers, probeMs, onChange, onEject } = options;
    this.#pool = new ReplicaPool({
      policy,
      maxQueued,
      slowStartMs,
      openMs: options.ejectionMs,
      outliers,
      onEject,
    });
    this.#monitor = new HealthMonitor(this.#pool, {
      probe: options.probe ?? (options.engines === undefined ? probeReplica : probeEngine),
      intervalMs: probeMs,
      timeoutMs: probeMs,
      onChange,
    });
    this.#registry = new ReplicaRegistry(this.#pool, this.#monitor);
    this.#scaling = new ScalingMonitor(this.#pool, {
      read: readTokenCounters,
      intervalMs: probeMs,
    });
    this.#scaling.start();
    const fleet = new PoolFleet(this.#pool, {
      replicaOf: (id, replica) => new HttpUpdatableReplica(id, replica),
      watch: (id) => this.#monitor.watch(id),
      unwatch: (id) => this.#monitor.unwatch(id),
      commit: (weights) => options.onCommit?.(weights),
    });
    this.#updates = new ModelUpdateManager(fleet);
    const metrics = new RouterMetrics(this.#pool, this.#scaling);
    this.#app = createRouterApp({
      pool: this.#pool,
      registry: this.#registry,
      metrics,
      updates: this.#updates,
      timers: this.#timers,
    }, options);
    this.#look = setInterval(() => this.#pool.ejectStuck(), LOOK_MS);
  }

  /** The replicas, in the order in which they joined. */
  get replicas(): readonly MemberStatus[] {
    return this.#pool.members;
  }

  /**
   * Adds a replica. It gets requests once a first probe has worked; until then it is down. Resolves with its
   * name when that probe has ended. Throws RangeError when address or name is not usable.
   */
  join(url: string, options: JoinOptions = {}): Promise<string> {
    return this.#registry.join(url, options);
  }

  /** Takes a replica out when it has ended its requests, or after `graceMs`. Throws RangeError when there is none. */
  leave(id: string, graceMs: number): Promise<void> {
    return this.#registry.leave(id, graceMs);
  }

  /** Changes a replica's share of the work. Throws RangeError when there is none, or it is not positive. */
  setWeight(id: string, weight: number): void {
    this.#registry.setWeight(id, weight);
  }

  /**
   * Like {@linkcode join}, but a replica of that name that is there already gets the new address: it keeps its
   * share of the work and its counts, and is drained if it was.
   */
  rejoin(url: string, options: JoinOptions & { readonly id: string }): Promise<void> {
    return this.#registry.rejoin(url, options);
  }

  /** A replica is known not to serve until it joins again. Nothing happens when there is none of that name. */
  suspend(id: string, reason: string): void {
    this.#registry.suspend(id, reason);
  }

  /**
   * Calls an update of weights off that runs; none begins any more. Resolves when the old weights are back. The
   * router goes on.
   */
  endUpdates(): Promise<void> {
    return this.#updates[Symbol.asyncDispose]();
  }

  /** Answers requests. Who tells their connections gets versions of weights that never go back on one. */
  readonly fetch = (
    request: Request,
    connection?: ConnectionInfo,
  ): Response | Promise<Response> => this.#app.fetch(request, connection);

  /** Ends the probes, and calls an update off that runs; {@linkcode endUpdates} waits for it. */
  [Symbol.dispose](): void {
    this.endUpdates();
    clearInterval(this.#look);
    this.#timers[Symbol.dispose]();
    this.#monitor[Symbol.dispose]();
    this.#scaling[Symbol.dispose]();
  }
}
