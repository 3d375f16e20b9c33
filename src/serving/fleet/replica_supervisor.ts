/**
 * Keeps the replicas of one host running behind a router.
 * @module
 */
import type { UpdateSource } from "../../routing/updates/updatable_replica.ts";
import type { JoinOptions } from "../router/replica_registry.ts";
import type { ReplicaCommand } from "./replica_process.ts";
import { SupervisedReplica, type SupervisionOptions } from "./supervised_replica.ts";

/** What a supervisor does to a router: {@linkcode RouterServer}. */
export interface SupervisedMembers {
  /** A replica serves, for the first time or again, and then at another address. */
  rejoin(url: string, options: JoinOptions & { readonly id: string }): Promise<void>;
  /** A replica does not serve. */
  suspend(id: string, reason: string): void;
}

/** Options of {@linkcode ReplicaSupervisor}. */
export interface ReplicaSupervisorOptions extends SupervisionOptions {
  /** Replicas. */
  readonly count: number;
  /** How to start the replica of a rank with some weights; asked anew for each start. */
  readonly command: (rank: number, weights: UpdateSource) => ReplicaCommand;
  /** The weights that replicas start with: see {@linkcode ReplicaSupervisor.commit}. */
  readonly weights: UpdateSource;
  /** Key that replicas ask for. */
  readonly apiKey: string;
  /** Where replicas join: under their ranks as names. */
  readonly members: SupervisedMembers;
  /**
   * Whether all but the first replica may start at the same time; asked when the first one serves. Default: one
   * after the other, each in the memory that those before it have left.
   */
  readonly startTogether?: () => boolean;
  /** Takes what a replica writes to stderr. */
  readonly onLine: (rank: number, line: string) => void;
  /** Is told when a replica serves for the first time or again. */
  readonly onServing?: (rank: number) => void;
  /** Is told why a replica does not serve, and in how many milliseconds it will be started again; null for never. */
  readonly onDown?: (rank: number, reason: string, retryMs: number | null) => void;
}

/** A replica could not be started. */
export class ReplicaStartError extends Error {
  /** Number of the replica. */
  readonly rank: number;
  /** Says what happened. */
  constructor(rank: number, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(`Cannot start replica ${rank}: ${reason}`, { cause });
    this.name = "ReplicaStartError";
    this.rank = rank;
  }
}

/**
 * Starts replicas, lets them join a router, and starts them again when they end: after a wait that doubles
 * each time, until one has served for a while. Disposing kills them.
 */
export class ReplicaSupervisor implements AsyncDisposable {
  readonly #options: ReplicaSupervisorOptions;
  readonly #replicas: readonly SupervisedReplica[];
  #committed: UpdateSource;

  /** Starts nothing yet. */
  constructor(options: ReplicaSupervisorOptions) {
    this.#options = options;
    this.#committed = options.weights;
    this.#replicas = Array.from({ length: options.count }, (_, rank) => this.#supervise(rank));
  }

  /** Process ids by rank; null for one that does not run now. */
  get pids(): readonly (number | null)[] {
    return this.#replicas.map(({ pid }) => pid);
  }

  /** The weights that a replica starts with. */
  get committed(): UpdateSource {
    return this.#committed;
  }

  /**
   * Replicas start with these weights from now on. Those that serve are left as they are, and must have them
   * already; those that are just starting start anew.
   */
  commit(weights: UpdateSource): void {
    this.#committed = weights;
    for (const replica of this.#replicas) replica.restartUnlessServing();
  }

  /**
   * Starts every replica, the first one alone: it compiles kernels and reads files for them all, and what is
   * wrong is said once. Rejects with {@linkcode ReplicaStartError} when one can't be started.
   */
  async start(): Promise<void> {
    await this.#start(0);
    const others = this.#replicas.keys().drop(1).toArray();
    if (this.#options.startTogether?.() ?? false) {
      await Promise.all(others.map((rank) => this.#start(rank)));
    } else for (const rank of others) await this.#start(rank);
  }

  /** Starts no replica again; those that run go on. For a router that ends with the requests that it has. */
  release(): void {
    for (const replica of this.#replicas) replica.release();
  }

  /** Asks every process to end, kills those that have not within `graceMs`, and resolves when all have ended. */
  async stop(graceMs: number): Promise<void> {
    await Promise.all(this.#replicas.map((replica) => replica.stop(graceMs)));
  }

  /** Kills every process. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(0);
  }

  async #start(rank: number): Promise<void> {
    try {
      await this.#replicas[rank].start();
    } catch (error) {
      throw new ReplicaStartError(rank, error);
    }
  }

  #supervise(rank: number): SupervisedReplica {
    const { command, members, apiKey, onLine, onServing, onDown } = this.#options;
    const id = String(rank);
    return new SupervisedReplica({
      command: () => command(rank, this.#committed),
      onLine: (line) => onLine(rank, line),
      onServing: async (url) => {
        await members.rejoin(url, { id, apiKey });
        onServing?.(rank);
      },
      onDown: (reason, retryMs) => {
        members.suspend(id, reason);
        onDown?.(rank, reason, retryMs);
      },
    }, this.#options);
  }
}
