/**
 * The replicas behind a router: who joins and leaves, and how they are watched.
 * @module
 */
import type { MemberOptions } from "../../routing/member.ts";
import type { ReplicaPool } from "../../routing/replica_pool.ts";
import { within } from "../../routing/within.ts";
import type { HealthMonitor } from "./health_monitor.ts";
import { HttpReplica, type HttpReplicaOptions } from "./http_replica.ts";

/** Options of a replica that joins. */
export interface JoinOptions extends MemberOptions, HttpReplicaOptions {
  /** Its name. Default: host and port, and path if there is one. */
  readonly id?: string;
}

/** Why a replica gets nothing before its first probe. */
const NOT_PROBED = "not probed yet";

/** Adds replicas to a pool by their addresses, and takes them out. */
export class ReplicaRegistry {
  readonly #pool: ReplicaPool<HttpReplica>;
  readonly #monitor: HealthMonitor<HttpReplica>;

  /** For `pool`, whose members `monitor` watches. */
  constructor(pool: ReplicaPool<HttpReplica>, monitor: HealthMonitor<HttpReplica>) {
    this.#pool = pool;
    this.#monitor = monitor;
  }

  /**
   * Adds a replica. It gets requests once a first probe has worked; until then it is down. Resolves with its
   * name when that probe has ended. Throws RangeError when address or name is not usable.
   */
  async join(url: string, options: JoinOptions = {}): Promise<string> {
    const replica = new HttpReplica(url, options);
    const id = options.id ?? nameOf(replica.url);
    if (!/^[\w.:~\[\]-]{1,200}$/.test(id)) {
      throw new RangeError(
        `Cannot add the replica as its name has other signs than . : ~ _ -: ${id}`,
      );
    }
    this.#pool.add(id, replica, { ...options, down: NOT_PROBED });
    await this.#monitor.watch(id);
    return id;
  }

  /**
   * Like {@linkcode join}, but a replica that is there already gets the new address: it keeps its share of the
   * work and its counts, and is drained if it was.
   */
  async rejoin(url: string, options: JoinOptions & { readonly id: string }): Promise<void> {
    const { id } = options;
    if (this.#has(id)) {
      this.#pool.replace(id, new HttpReplica(url, options), NOT_PROBED);
      await this.#monitor.watch(id);
    } else await this.join(url, options);
  }

  /** A replica is known not to serve until it joins again; it is not probed. Nothing happens when there is none. */
  suspend(id: string, reason: string): void {
    if (!this.#has(id)) return;
    this.#monitor.unwatch(id);
    this.#pool.setDown(id, reason);
  }

  /** Changes a replica's share of the work. Throws RangeError when there is none, or it is not positive. */
  setWeight(id: string, weight: number): void {
    this.#pool.setWeight(id, weight);
  }

  /** Takes a replica out when it has ended its requests, or after `graceMs`. Throws RangeError when there is none. */
  async leave(id: string, graceMs: number): Promise<void> {
    await within(this.#pool.drain(id), graceMs);
    if (!this.#has(id)) return; // Somebody else took it out meanwhile.
    this.#monitor.unwatch(id);
    this.#pool.remove(id);
  }

  #has(id: string): boolean {
    return this.#pool.members.some((member) => member.id === id);
  }
}

function nameOf(url: string): string {
  const { host, pathname } = new URL(url);
  return host + pathname.replace(/\/+$/, "").replaceAll("/", "~");
}
