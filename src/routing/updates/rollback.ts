/**
 * The way back to the old weights.
 * @module
 */
import { within } from "../within.ts";
import { messageOf, UpdateError } from "./errors.ts";
import type { UpdatableReplica } from "./updatable_replica.ts";
import type { UpdateRun } from "./update_run.ts";
import { forEachAtOnce, repeat } from "./waiting.ts";

/** How replicas are restored. */
export interface RollbackOptions {
  /** Replicas that load the old weights at once. */
  readonly width: number;
  /** Time between two attempts at a replica, in milliseconds. */
  readonly retryMs: number;
}

/**
 * Time that a replica's requests have to end before its weights are replaced, in milliseconds: the replica lets them
 * end, too.
 */
const QUIET_MS = 10_000;

/**
 * Lets every replica serve what it served before the update, whatever has become of it: each is asked what it has, so
 * that it does not matter where the update stopped. Replicas that still have the old weights loaded switch first, at
 * once; those that fail at something get no requests, and are tried again when the others are done. Returns the names
 * of those that could not be restored: they get none until {@linkcode restoreReplica} has succeeded, unless nobody
 * else serves.
 */
export async function rollBack(
  run: UpdateRun,
  { width, retryMs }: RollbackOptions,
): Promise<string[]> {
  const { fleet, log, replicas } = run;
  log.add("rolling-back", { message: "every replica gets the old weights" });
  const failed = new Set<string>();
  const warn = (id: string, error: unknown): void =>
    log.add("warning", { replica: id, message: `not restored: ${messageOf(error)}` });
  const once = async (replica: UpdatableReplica, step: () => Promise<void>): Promise<void> => {
    const { id } = replica;
    if (failed.has(id)) return;
    try {
      await step();
    } catch (error) {
      warn(id, error);
      failed.add(id);
      setAside(run, id, { returns: true });
    }
  };
  const replaced: UpdatableReplica[] = [];
  await Promise.all(replicas.map((replica) =>
    once(replica, async () => {
      if (!await switchBack(run, replica)) replaced.push(replica);
    })
  ));
  if (replaced.length === 0) run.endHold();
  await forEachAtOnce(
    replaced,
    width,
    (replica) => once(replica, () => replaceByOld(run, replica)),
  );
  run.endHold();
  await Promise.all(replicas.map((replica) => once(replica, () => settle(run, replica))));

  const lost: string[] = [];
  await Promise.all([...failed].map(async (id) => {
    const onFailure = (error: unknown): void => warn(id, error);
    if (await repeat(() => restoreReplica(run, id), { retryMs, onFailure })) return;
    lost.push(id);
    setAside(run, id, { returns: false });
  }));
  // Nobody knows what those serve; where there are no others, some answer is better than none.
  if (!fleet.replicas.some(({ id }) => fleet.serves(id))) {
    const left = fleet.replicas.filter(({ id }) => lost.includes(id));
    await Promise.allSettled(left.map(({ id }) => fleet.putBack(id))); // They may leave meanwhile.
  }
  return lost;
}

/** Brings a replica back, should it be reachable again, and still a member; rejects when it is not reachable. */
export async function restoreReplica(run: UpdateRun, id: string): Promise<void> {
  const replica = run.replicas.find((known) => known.id === id);
  if (replica === undefined) return;
  if (!await switchBack(run, replica)) await replaceByOld(run, replica);
  await settle(run, replica);
}

/** Nothing is left over, and it gets requests; that it does not answer yet is the health monitor's business. */
async function settle({ fleet, log }: UpdateRun, replica: UpdatableReplica): Promise<void> {
  const { id } = replica;
  await releaseOthers(replica);
  await fleet.putBack(id);
  log.add("restored", { replica: id, message: "serves the old weights" });
}

/** Whether the old weights serve, once the step that takes no time is done. */
async function switchBack(run: UpdateRun, replica: UpdatableReplica): Promise<boolean> {
  const status = await replica.weights();
  const { id } = replica;
  if (!run.isOld(replica, status)) {
    if (status.previous?.version !== run.old.get(id)!.version) return false;
    await replica.revert();
  }
  run.fresh.delete(id);
  return true;
}

async function replaceByOld(run: UpdateRun, replica: UpdatableReplica): Promise<void> {
  const { id } = replica;
  const old = run.old.get(id)!;
  run.fleet.setAside(id);
  run.log.add("loading", { replica: id, message: `loads ${old.model}` });
  // Those that take longer are ended by the replica in its own time.
  await within(run.fleet.quiet(id), QUIET_MS);
  await releaseOthers(replica);
  const { version } = await replica.update({ model: old.model, version: old.version });
  if (version !== old.version) {
    throw new UpdateError(`Cannot restore ${id} as ${old.model} holds other weights: ${version}`, {
      reason: "failed",
      replica: id,
    });
  }
  run.fresh.delete(id);
  await run.fleet.putBack(id);
}

/** Frees what a replica has loaded and does not serve. */
export async function releaseOthers(replica: UpdatableReplica): Promise<void> {
  const { prepared, previous } = await replica.weights();
  if (prepared !== null || previous !== null) await replica.release();
}

function setAside(
  { fleet }: UpdateRun,
  id: string,
  options: { readonly returns: boolean },
): void {
  try {
    fleet.setAside(id, options);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // It has left.
  }
}
