/**
 * The way back to the old weights.
 * @module
 */
import { messageOf, UpdateError } from "./errors.ts";
import type { UpdatableReplica } from "./updatable_replica.ts";
import type { UpdateRun } from "./update_run.ts";
import { forEachAtOnce, repeat, settlesWithin } from "./waiting.ts";

/** How replicas are restored. */
export interface RollbackOptions {
  /** Replicas that load the old weights at once. */
  readonly width: number;
  /** Time between two attempts at a replica, in milliseconds. */
  readonly retryMs: number;
}

/** Time that a replica's requests have to end before its weights are replaced, in milliseconds: the replica lets them end, too. */
const QUIET_MS = 10_000;

/**
 * Lets every replica serve what it served before the update, whatever has become of it: each is asked what it has, so
 * that it does not matter where the update stopped. Replicas that still have the old weights loaded switch first, at
 * once. Returns the names of those that could not be restored; they get no requests until
 * {@linkcode restoreReplica} has succeeded, unless nobody else serves.
 */
export async function rollBack(run: UpdateRun, options: RollbackOptions): Promise<string[]> {
  const { log } = run;
  log.add("rolling-back", { message: "every replica gets the old weights" });
  const lost = new Set<string>();
  const replaced: UpdatableReplica[] = [];
  const attempt = async ({ id }: UpdatableReplica, step: () => Promise<void>): Promise<void> => {
    if (lost.has(id)) return;
    const onFailure = (error: unknown): void =>
      log.add("warning", { replica: id, message: `not restored: ${messageOf(error)}` });
    if (!await repeat(step, { retryMs: options.retryMs, onFailure })) lost.add(id);
  };
  await Promise.all(run.replicas.map((replica) =>
    attempt(replica, async () => {
      if (!await switchBack(run, replica)) replaced.push(replica);
    })
  ));
  if (replaced.length === 0) run.endHold();
  await forEachAtOnce(
    replaced,
    options.width,
    (replica) => attempt(replica, () => replaceByOld(run, replica)),
  );
  run.endHold();
  await Promise.all(run.replicas.map((replica) =>
    attempt(replica, async () => {
      await releaseOthers(replica);
      await putBack(run, replica);
    })
  ));
  const left = run.replicas.filter(({ id }) => lost.has(id));
  // Nobody knows what they serve; where there are no others, some answer is better than none.
  for (const { id } of left) run.fleet.setAside(id);
  if (!run.fleet.replicas.some(({ id }) => run.fleet.serves(id))) {
    await Promise.all(left.map((replica) => putBack(run, replica)));
  }
  return left.map(({ id }) => id);
}

/** Brings one replica back, should it be reachable again; rejects when it is not. */
export async function restoreReplica(run: UpdateRun, replica: UpdatableReplica): Promise<void> {
  if (!await switchBack(run, replica)) await replaceByOld(run, replica);
  await releaseOthers(replica);
  await putBack(run, replica);
  run.log.add("restored", { replica: replica.id, message: "serves the old weights again" });
}

/** Whether the old weights serve, once the step that takes no time is done. */
async function switchBack(run: UpdateRun, replica: UpdatableReplica): Promise<boolean> {
  const status = await replica.weights();
  const { id } = replica;
  if (!run.isOld(replica, status)) {
    if (status.previous?.version !== run.old.get(id)!.version) return false;
    await replica.revert();
    run.log.add("restored", { replica: id, message: "serves the old weights again" });
  }
  run.fresh.delete(id);
  return true;
}

async function replaceByOld(run: UpdateRun, replica: UpdatableReplica): Promise<void> {
  const { id } = replica;
  const old = run.old.get(id)!;
  using _hold = run.othersServe(id) ? null : run.fleet.hold();
  run.fleet.setAside(id);
  // Those that take longer are ended by the replica in its own time.
  await settlesWithin(run.fleet.quiet(id), QUIET_MS);
  const { version } = await replica.update({ model: old.model, version: old.version });
  if (version !== old.version) {
    throw new UpdateError(`Cannot restore ${id} as ${old.model} holds other weights: ${version}`, {
      reason: "failed",
      replica: id,
    });
  }
  run.fresh.delete(id);
  await putBack(run, replica);
  run.log.add("restored", { replica: id, message: "serves the old weights again" });
}

/** Frees what a replica has loaded and does not serve. */
export async function releaseOthers(replica: UpdatableReplica): Promise<void> {
  const { prepared, previous } = await replica.weights();
  if (prepared !== null || previous !== null) await replica.release();
}

/** That it does not answer yet is the health monitor's business. */
async function putBack({ fleet }: UpdateRun, { id }: UpdatableReplica): Promise<void> {
  await fleet.putBack(id);
}
