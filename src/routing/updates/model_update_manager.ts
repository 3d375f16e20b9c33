/**
 * New weights for a fleet, one update at a time.
 * @module
 */
import { LONGEST_TIMER_MS, within } from "../within.ts";
import { messageOf, UpdateError } from "./errors.ts";
import { examine, releaseLeftovers } from "./examine.ts";
import { type GoldenPrompt, SMALLEST_PROMPT } from "./golden_prompts.ts";
import { ModelUpdate } from "./model_update.ts";
import { releaseOthers, restoreReplica, rollBack } from "./rollback.ts";
import type { UpdateStrategy } from "./strategies/strategy.ts";
import type { ReplicaWeights, UpdateSource } from "./updatable_replica.ts";
import type { UpdateFleet } from "./update_fleet.ts";
import { UpdateRun } from "./update_run.ts";
import { repeat } from "./waiting.ts";

/** An update that somebody asks for. */
export interface UpdateRequest {
  /** How replicas get the weights. */
  readonly strategy: UpdateStrategy;
  /** The weights. */
  readonly source: UpdateSource;
  /** Prompts that they must answer. Default: the smallest there is. */
  readonly golden?: readonly GoldenPrompt[];
}

/** Options of {@linkcode ModelUpdateManager}. */
export interface ModelUpdateManagerOptions {
  /** Time between two attempts to bring a replica back that could not be restored, in milliseconds. Default 1000. */
  readonly retryMs?: number;
}

/** Updates that are remembered. */
const MAX_UPDATES = 16;

/** An update that can still be called off, or taken back. */
interface Present {
  readonly update: ModelUpdate;
  readonly run: UpdateRun;
}

/** Old weights that are still loaded. */
interface Keeping {
  /** Frees them or lets them be; resolves when that is done. */
  end(how: "release" | "leave"): Promise<void>;
}

/**
 * Gives the replicas of a fleet new weights, by a strategy, while requests flow. When a step fails, every replica
 * that had changed gets its old weights back: a fleet ends on one version.
 *
 * Disposing cancels what runs and resolves when the old weights are back. A manager whose process is killed leaves
 * replicas that serve, some with the new weights and some with the old ones: they are updated again.
 *
 * @example
 * ```ts no-assert
 * import { EngineFleet, ModelUpdateManager, SynchronousStrategy } from "@weft/weft/server";
 * import { LlmEngine } from "@weft/weft";
 * await using engine = await LlmEngine.load({ model: "models/demo" });
 * await using updates = new ModelUpdateManager(new EngineFleet(engine));
 * const update = await updates.start({
 *   strategy: new SynchronousStrategy(),
 *   source: { model: "models/newer" },
 * });
 * for await (const { message } of update.log.follow()) console.log(message);
 * console.log(update.state); // succeeded
 * ```
 */
export class ModelUpdateManager implements AsyncDisposable {
  readonly #fleet: UpdateFleet;
  readonly #retryMs: number;
  readonly #updates = new Map<string, ModelUpdate>();
  readonly #unrestored = new Set<string>();
  readonly #background = new Set<Promise<void>>();
  readonly #disposed = new AbortController();
  #starting = false;
  #present: Present | null = null;
  #keeping: Keeping | null = null;
  #count = 0;

  /** For a fleet that nobody else updates. */
  constructor(fleet: UpdateFleet, options: ModelUpdateManagerOptions = {}) {
    this.#fleet = fleet;
    this.#retryMs = options.retryMs ?? 1000;
  }

  /** The latest updates, the last of them last. */
  get updates(): readonly ModelUpdate[] {
    return [...this.#updates.values()];
  }

  /**
   * Begins an update; resolves when it is certain that it can be tried. Old weights that an earlier one has kept are
   * released. Throws UpdateError: `busy` while another one runs or a replica of it is not restored yet, `refused`
   * when the fleet can't be updated so; nothing has changed then.
   */
  async start({ strategy, source, golden = [] }: UpdateRequest): Promise<ModelUpdate> {
    this.#refuseWhileBusy();
    this.#starting = true;
    try {
      const statuses = await examine(this.#fleet, { strategy, source });
      await this.#keeping?.end("release");
      await releaseLeftovers(this.#fleet, statuses);
      if (this.#disposed.signal.aborted) throw stopping();
      const update = new ModelUpdate(`update-${++this.#count}`, {
        strategy: strategy.name,
        source,
      });
      const old = new Map<string, ReplicaWeights>();
      for (const [id, { current }] of statuses) old.set(id, current);
      const prompts = golden.length > 0 ? golden : [SMALLEST_PROMPT];
      const run = new UpdateRun(this.#fleet, { source, golden: prompts, log: update.log, old });
      this.#updates.set(update.id, update);
      for (const id of this.#updates.keys()) {
        if (this.#updates.size > MAX_UPDATES) this.#updates.delete(id);
      }
      this.#present = { update, run };
      this.#spawn(this.#carryOut({ update, run }, strategy));
      return update;
    } finally {
      this.#starting = false;
    }
  }

  /**
   * Calls an update off: it stops before its next step and is rolled back. Throws UpdateError (busy) when it has
   * ended.
   */
  cancel(id: string): void {
    if (this.#present?.update.id !== id || this.#present.update.state !== "running") {
      throw new UpdateError("Cannot cancel the update as it has ended", { reason: "busy" });
    }
    this.#present.run.cancel();
  }

  /**
   * Switches back to the old weights; resolves when they serve. Throws UpdateError (busy) unless the update has
   * succeeded and kept them.
   */
  async revert(id: string): Promise<void> {
    this.#refuseWhileBusy();
    const { update, run } = this.#present ?? {};
    if (update?.id !== id || !update.kept || run === undefined) {
      throw new UpdateError("Cannot revert the update as the old weights are not kept", {
        reason: "busy",
      });
    }
    const work = this.#goBack({ update, run });
    this.#spawn(work.catch(() => {})); // Who asked for it is told.
    await work;
  }

  /** Cancels what runs. Resolves when it is rolled back; weights that were kept stay as they are. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed.abort();
    this.#present?.run.cancel();
    this.#keeping?.end("leave");
    await Promise.all(this.#background);
  }

  #refuseWhileBusy(): void {
    const [unrestored] = this.#unrestored;
    const state = this.#present?.update.state;
    if (this.#disposed.signal.aborted) throw stopping();
    const reason = this.#starting || state === "running" || state === "rolling-back"
      ? "another update runs"
      : unrestored !== undefined
      ? `a replica still has to get its old weights back: ${unrestored}`
      : null;
    if (reason !== null) {
      throw new UpdateError(`Cannot update the weights as ${reason}`, { reason: "busy" });
    }
  }

  async #carryOut({ update, run }: Present, strategy: UpdateStrategy): Promise<void> {
    let committed = false;
    try {
      await strategy.run(run);
      run.throwIfCancelled();
      // A replica that is started again from here on gets the new weights; one that was before is found out.
      this.#fleet.commit(run.target);
      committed = true;
      await run.verify();
      run.endHold();
      this.#fleet.divide(null);
      update.succeed(run.target, { kept: strategy.keepMs > 0 });
      this.#keep({ update, run }, strategy.keepMs);
    } catch (error) {
      update.rollBack(error);
      if (committed) this.#commitOld(run);
      update.fail(await this.#restoreAll(run, strategy.rollbackWidth));
    }
  }

  async #goBack({ update, run }: Present): Promise<void> {
    this.#starting = true;
    try {
      await this.#keeping?.end("leave");
      run.hold();
      this.#commitOld(run);
      update.revert(await this.#restoreAll(run, 1));
    } finally {
      this.#starting = false;
    }
  }

  async #restoreAll(run: UpdateRun, width: number): Promise<readonly string[]> {
    const unrestored = await rollBack(run, { width, retryMs: this.#retryMs });
    run.endHold();
    this.#fleet.divide(null);
    for (const id of unrestored) this.#spawn(this.#restoreLater(run, id));
    return unrestored;
  }

  #commitOld({ replicas, old }: UpdateRun): void {
    const weights = replicas.map(({ id }) => old.get(id)).find((known) => known !== undefined);
    if (weights !== undefined) this.#fleet.commit(weights);
  }

  /** Until it comes back or leaves; it gets no requests before. */
  async #restoreLater(run: UpdateRun, id: string): Promise<void> {
    this.#unrestored.add(id);
    const disposed = aborted(this.#disposed.signal);
    while (!await within(disposed, this.#retryMs)) {
      try {
        await restoreReplica(run, id);
        break;
      } catch {
        // It was told already that it can't be restored.
      }
    }
    this.#unrestored.delete(id);
  }

  /** Releases the old weights after a while, or when somebody asks for it. */
  #keep({ update, run }: Present, keepMs: number): void {
    const asked = Promise.withResolvers<"release" | "leave">();
    if (keepMs === 0) asked.resolve("release");
    const timer = setTimeout(() => asked.resolve("release"), Math.min(keepMs, LONGEST_TIMER_MS));
    Deno.unrefTimer(timer); // A process with nothing else to do may end.
    const work = async (): Promise<void> => {
      const how = await asked.promise;
      clearTimeout(timer);
      if (how === "release") {
        await this.#release(run);
        if (keepMs > 0) update.release();
      }
      this.#keeping = null;
    };
    const ended = work();
    this.#keeping = {
      end(how) {
        asked.resolve(how);
        return ended;
      },
    };
    this.#spawn(ended);
  }

  async #release({ replicas, log }: UpdateRun): Promise<void> {
    await Promise.all(replicas.map((replica) =>
      repeat(() => releaseOthers(replica), {
        retryMs: this.#retryMs,
        onFailure(error) {
          const message = `old weights not released: ${messageOf(error)}`;
          log.add("warning", { replica: replica.id, message });
        },
      })
    ));
  }

  #spawn(work: Promise<void>): void {
    const done = work.finally(() => this.#background.delete(done));
    this.#background.add(done);
  }
}

function stopping(): UpdateError {
  return new UpdateError("Cannot update the weights as the router is stopping", {
    reason: "busy",
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true })
  );
}
