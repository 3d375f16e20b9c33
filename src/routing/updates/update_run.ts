/**
 * One update on its way: what strategies are made of.
 * @module
 */
import { within } from "../within.ts";
import { messageOf, UpdateError } from "./errors.ts";
import { checkGolden, type GoldenPrompt } from "./golden_prompts.ts";
import type {
  ReplicaWeights,
  ReplicaWeightsStatus,
  UpdatableReplica,
  UpdateSource,
} from "./updatable_replica.ts";
import type { UpdateFleet } from "./update_fleet.ts";
import type { UpdateLog } from "./update_log.ts";

/** What {@linkcode UpdateRun} needs. */
export interface UpdateRunOptions {
  /** The new weights. */
  readonly source: UpdateSource;
  /** Prompts that they must answer. At least one. */
  readonly golden: readonly GoldenPrompt[];
  /** Is told what happens. */
  readonly log: UpdateLog;
  /** What each replica serves before, by its name. */
  readonly old: ReadonlyMap<string, ReplicaWeights>;
}

/**
 * The steps of which strategies are made. Each throws UpdateError, cancelled before it begins when somebody has
 * called the update off, failed when a replica rejects.
 */
export class UpdateRun {
  /** The replicas. */
  readonly fleet: UpdateFleet;
  /** What each replica served before, by its name. */
  readonly old: ReadonlyMap<string, ReplicaWeights>;
  /** Is told what happens. */
  readonly log: UpdateLog;
  /** Names of the replicas that serve the new weights. */
  readonly fresh: Set<string> = new Set();
  readonly #source: UpdateSource;
  readonly #golden: readonly GoldenPrompt[];
  readonly #cancelled = Promise.withResolvers<never>();
  #isCancelled = false;
  #loaded: ReplicaWeights | null = null;
  #hold: Disposable | null = null;

  /** Nothing has changed yet. */
  constructor(fleet: UpdateFleet, { source, golden, log, old }: UpdateRunOptions) {
    this.fleet = fleet;
    this.old = old;
    this.log = log;
    this.#source = source;
    this.#golden = golden;
    this.#cancelled.promise.catch(() => {}); // Nobody may be waiting.
  }

  /** The replicas that take part. One that was started again meanwhile has the old weights. */
  get replicas(): readonly UpdatableReplica[] {
    return this.fleet.replicas.filter(({ id }) => this.old.has(id));
  }

  /** The new weights, by the name and folder that replicas say; by what was asked for before. */
  get target(): UpdateSource {
    return { ...this.#source, ...this.#loaded };
  }

  /** No step begins any more, and no wait goes on. */
  cancel(): void {
    this.#isCancelled = true;
    this.#cancelled.reject(cancelled());
  }

  /** Throws when somebody has called the update off. */
  throwIfCancelled(): void {
    if (this.#isCancelled) throw cancelled();
  }

  /** Requests wait from now on. */
  hold(): void {
    if (this.#hold !== null) return;
    this.#hold = this.fleet.hold();
    this.log.add("held", { message: "requests wait" });
  }

  /** Requests go on. */
  endHold(): void {
    this.#hold?.[Symbol.dispose]();
    this.#hold = null;
  }

  /** Waits. */
  async pass(milliseconds: number): Promise<void> {
    await within(this.#cancelled.promise, milliseconds);
  }

  /**
   * Waits until a replica has ended its requests; ends those that still run after `graceMs`. What a client has not
   * read of them by then is not waited for: it may never do that.
   */
  async quiet(replica: UpdatableReplica, graceMs: number): Promise<void> {
    await this.#at(replica, async () => {
      this.#tell("draining", replica, "ends its requests");
      const quiet = this.fleet.quiet(replica.id);
      if (await within(Promise.race([quiet, this.#cancelled.promise]), graceMs)) return;
      this.#tell("warning", replica, `requests that run after ${graceMs / 1000} s are ended`);
      try {
        await replica.pause("abort");
      } finally {
        await replica.resume();
      }
    });
  }

  /** Gives a replica the new weights while others serve: it ends its requests, changes, is checked, and serves. */
  async replaceAside(replica: UpdatableReplica, graceMs: number): Promise<void> {
    const { id } = replica;
    this.throwIfCancelled();
    if (!this.othersServe(id)) {
      throw failed(replica, `Cannot take ${id} out as no other replica serves`);
    }
    this.fleet.setAside(id);
    await this.quiet(replica, graceMs);
    await this.replace(replica);
    this.fresh.add(id);
    if (!await this.fleet.putBack(id)) {
      throw failed(replica, `Cannot go on as ${id} does not serve with the new weights`);
    }
    this.#tell("serving", replica, "serves the new weights");
  }

  /** Gives a replica, which gets no requests meanwhile, the new weights in place, and checks them. */
  async replace(replica: UpdatableReplica): Promise<void> {
    await this.#at(replica, async () => {
      this.#tell("loading", replica, `loads ${this.#source.model}`);
      this.#accept(replica, await replica.update(this.#source));
    });
    await this.check(replica, "current");
  }

  /** Loads the new weights beside the old ones. */
  async prepare(replica: UpdatableReplica): Promise<void> {
    await this.#at(replica, async () => {
      this.#tell("loading", replica, `loads ${this.#source.model} beside what it serves`);
      this.#accept(replica, await replica.prepare(this.#source));
    });
  }

  /** New requests of a replica get the prepared weights. */
  async activate(replica: UpdatableReplica): Promise<void> {
    await this.#at(replica, async () => {
      this.#verifySame(replica, await replica.activate());
      this.#tell("serving", replica, "serves the new weights");
    });
    this.fresh.add(replica.id);
  }

  /** Lets a replica answer the golden prompts. */
  async check(replica: UpdatableReplica, set: "current" | "prepared"): Promise<void> {
    await this.#at(replica, async () => {
      await checkGolden(replica, set, this.#golden);
      this.#tell("checked", replica, `golden prompts answered: ${this.#golden.length}`);
    });
  }

  /** Throws unless every replica of the fleet says that it serves the new weights. */
  async verify(): Promise<void> {
    await Promise.all(this.fleet.replicas.map((replica) =>
      this.#at(replica, async () => {
        const { current } = await replica.weights();
        if (current.version === this.#loaded?.version) return;
        throw failed(replica, `Cannot end the update as ${replica.id} serves ${current.version}`);
      })
    ));
  }

  /** Whether a replica beside this one takes requests. */
  othersServe(id: string): boolean {
    return this.fleet.replicas.some((other) => other.id !== id && this.fleet.serves(other.id));
  }

  /** Whether what a replica says of itself is that it serves what it did before the update. */
  isOld({ id }: UpdatableReplica, { current }: ReplicaWeightsStatus): boolean {
    return current.version === this.old.get(id)?.version;
  }

  #accept(replica: UpdatableReplica, weights: ReplicaWeights): void {
    this.#verifySame(replica, weights);
    this.#tell("loaded", replica, `has ${weights.version}`);
  }

  /** All replicas must name the weights alike: another name means other files. */
  #verifySame(replica: UpdatableReplica, weights: ReplicaWeights): void {
    const { version } = this.#loaded ??= { model: weights.model, version: weights.version };
    if (weights.version === version) return;
    throw failed(
      replica,
      `Cannot serve different weights: ${replica.id} has ${weights.version}, others ${version}`,
    );
  }

  #tell(type: Parameters<UpdateLog["add"]>[0], { id }: UpdatableReplica, message: string): void {
    this.log.add(type, { replica: id, message });
  }

  async #at(replica: UpdatableReplica, step: () => Promise<void>): Promise<void> {
    this.throwIfCancelled();
    try {
      await step();
    } catch (error) {
      throw error instanceof UpdateError ? error : failed(replica, messageOf(error), error);
    }
  }
}

function failed(replica: UpdatableReplica, message: string, cause?: unknown): UpdateError {
  return new UpdateError(message, { reason: "failed", replica: replica.id, cause });
}

function cancelled(): UpdateError {
  return new UpdateError("The update was cancelled", { reason: "cancelled" });
}
