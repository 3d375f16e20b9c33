/**
 * Whether a fleet can be updated, told before anything changes.
 * @module
 */
import { messageOf, UpdateError } from "./errors.ts";
import type { UpdateStrategy } from "./strategies/strategy.ts";
import type { ReplicaWeightsStatus, UpdateSource } from "./updatable_replica.ts";
import type { UpdateFleet } from "./update_fleet.ts";

/** What every replica of a fleet has, by its name. */
export type FleetWeights = ReadonlyMap<string, ReplicaWeightsStatus>;

/** What every replica has; throws UpdateError (refused) when the update can't be tried. */
export async function examine(
  fleet: UpdateFleet,
  { strategy, source }: { readonly strategy: UpdateStrategy; readonly source: UpdateSource },
): Promise<FleetWeights> {
  const { replicas } = fleet;
  const { name, minReplicas } = strategy;
  if (replicas.length < minReplicas) {
    throw refused(
      `Cannot update by the strategy ${name} as it needs ${minReplicas} replicas: ` +
        `current value is ${replicas.length}`,
    );
  }
  const statuses = new Map<string, ReplicaWeightsStatus>();
  await Promise.all(replicas.map(async (replica) => {
    const { id } = replica;
    if (!fleet.serves(id)) {
      throw refused(`Cannot update the replicas as one does not serve: ${id}`, id);
    }
    try {
      statuses.set(id, await replica.weights());
    } catch (error) {
      throw error instanceof UpdateError ? error : refused(messageOf(error), id);
    }
  }));
  for (const [id, { current }] of statuses) {
    if (current.model === source.model) {
      const { model } = source;
      throw refused(
        `Cannot update to the folder that is served as there would be no way back: ${model}`,
        id,
      );
    }
    if (current.version === source.version) {
      throw refused(`Cannot name the weights as those that are served: ${source.version}`, id);
    }
  }
  return statuses;
}

/** Frees weights that nobody serves: a manager that was killed may have left such. */
export async function releaseLeftovers(fleet: UpdateFleet, weights: FleetWeights): Promise<void> {
  await Promise.all(fleet.replicas.map(async (replica) => {
    const status = weights.get(replica.id);
    if (status === undefined || (status.prepared ?? status.previous) === null) return;
    try {
      await replica.release();
    } catch (error) {
      throw refused(messageOf(error), replica.id);
    }
  }));
}

function refused(message: string, replica?: string): UpdateError {
  return new UpdateError(message, { reason: "refused", replica });
}
