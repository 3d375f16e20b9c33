/**
 * Asks replicas whether they still generate.
 * @module
 */
import type { ReplicaPool } from "../../routing/replica_pool.ts";

/** Options of {@linkcode HealthMonitor}. */
export interface HealthMonitorOptions<T> {
  /** Resolves when the replica has generated a token; rejects when it can't. */
  readonly probe: (target: T, signal: AbortSignal) => Promise<void>;
  /** Time between two probes of a replica, in milliseconds. Default 5000. */
  readonly intervalMs?: number;
  /** Time that a probe may take, in milliseconds. Default 5000. */
  readonly timeoutMs?: number;
  /** Probes that fail in a row before the replica counts as down. Default 2. */
  readonly failures?: number;
  /** Is told when a replica goes down (with the reason) or comes back (null). */
  readonly onChange?: (id: string, reason: string | null) => void;
}

/** The probes of one replica. */
interface Watch {
  /** Failures in a row. */
  failures: number;
  /** Whether it was told that they mean that the replica is down. */
  told: boolean;
  /** The next one. */
  timer: ReturnType<typeof setTimeout> | undefined;
}

/**
 * Probes every replica of a pool, each by itself, until disposed. One that has answered requests within the
 * interval is not probed: that is proof enough, and a probe would wait behind them. A replica whose
 * probes fail is down; the first probe that works brings it back.
 */
export class HealthMonitor<T> implements Disposable {
  readonly #pool: ReplicaPool<T>;
  readonly #options: HealthMonitorOptions<T>;
  readonly #intervalMs: number;
  readonly #watches = new Map<string, Watch>();
  readonly #end = new AbortController();

  /** Watches nobody yet: see {@linkcode watch}. */
  constructor(pool: ReplicaPool<T>, options: HealthMonitorOptions<T>) {
    this.#pool = pool;
    this.#options = options;
    this.#intervalMs = options.intervalMs ?? 5000;
  }

  /** Probes a replica from now on, at once for the first time; resolves with the first result. */
  async watch(id: string): Promise<void> {
    if (this.#end.signal.aborted) return; // An update that is called off may still put replicas back.
    this.unwatch(id);
    const watch: Watch = { failures: 0, told: false, timer: undefined };
    this.#watches.set(id, watch);
    await this.#check(id, watch);
  }

  /** Probes a replica no more. */
  unwatch(id: string): void {
    clearTimeout(this.#watches.get(id)?.timer);
    this.#watches.delete(id);
  }

  /** Ends all probes. */
  [Symbol.dispose](): void {
    this.#end.abort();
    for (const id of [...this.#watches.keys()]) this.unwatch(id);
  }

  async #check(id: string, watch: Watch): Promise<void> {
    const { failures = 2, timeoutMs = 5000, probe } = this.#options;
    const reason = this.#pool.silentMs(id) < this.#intervalMs
      ? null
      : await failureOf((signal) => probe(this.#pool.target(id), signal), {
        timeoutMs,
        signal: this.#end.signal,
      });
    if (this.#watches.get(id) !== watch) return; // It has left meanwhile, or is another one.
    watch.failures = reason === null ? 0 : watch.failures + 1;
    // One that has never served is down from the first failure on.
    const isDown = watch.failures >= failures || (reason !== null && this.#isDown(id));
    if (reason === null) this.#up(id);
    else if (isDown && !watch.told) this.#down(id, reason);
    watch.told = isDown;
    // Probes of many replicas that joined together must not stay together.
    const delay = this.#intervalMs * (0.9 + 0.2 * Math.random());
    watch.timer = setTimeout(() => this.#check(id, watch), delay);
  }

  #up(id: string): void {
    if (this.#isDown(id)) {
      this.#pool.setUp(id);
      this.#options.onChange?.(id, null);
    }
    this.#pool.probed(id);
  }

  #down(id: string, reason: string): void {
    this.#pool.setDown(id, reason);
    this.#options.onChange?.(id, reason);
  }

  #isDown(id: string): boolean {
    return this.#pool.members.some((member) => member.id === id && member.reason !== null);
  }
}

/** Why `work` failed or did not end in time; null when it succeeded. */
async function failureOf(
  work: (signal: AbortSignal) => Promise<void>,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<string | null> {
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new Error(`not answering a probe within ${timeoutMs} ms`)),
    timeoutMs,
  );
  try {
    await work(AbortSignal.any([late.signal, signal]));
    return null;
  } catch (error) {
    const reason = late.signal.aborted ? late.signal.reason : error;
    return reason instanceof Error ? reason.message : String(reason);
  } finally {
    clearTimeout(timer);
  }
}
