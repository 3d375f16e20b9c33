/**
 * How one of several replicas is started.
 * @module
 */
import type { UpdateSource } from "../routing/updates/updatable_replica.ts";
import type { ReplicaCommand } from "../serving/fleet/replica_process.ts";
import type { WeightStoreHandle } from "../tensor/cpu/weight_store.ts";
import type { SERVE_FLAGS } from "./flags.ts";
import { environmentName, type FlagValues } from "./parse_flags.ts";
import { writeFlags } from "./write_flags.ts";

/** What differs from the router's own flags. */
export interface ReplicaCommandOptions {
  /** Number of the replica. */
  readonly rank: number;
  /** What it serves. */
  readonly weights: UpdateSource;
  /** Name of the model in the API, whatever the folder is called. */
  readonly model: string;
  /** Address to listen on. */
  readonly hostname: string;
  /** Key that it asks for. */
  readonly apiKey: string;
  /** Where it shares packed weights with the others. */
  readonly store?: WeightStoreHandle;
}

/** Flags that are the router's only. Keys are secret, and command lines are not. */
const ROUTER_FLAGS = [
  "balancing-policy",
  "hedge-after",
  "api-key",
  "api-key-file",
  "admin-api-key",
  "key-concurrency",
  "key-requests-per-minute",
  "enable-log-requests",
] as const;

/** Those that must not come from the router's environment either. */
const ROUTER_ENVIRONMENT = ROUTER_FLAGS.filter((name) => /key|log/.test(name));

/** A `weft serve` for one replica, with the flags that the router was given. */
export function replicaCommand(
  values: FlagValues<typeof SERVE_FLAGS>,
  { rank, weights, model, hostname, apiKey, store }: ReplicaCommandOptions,
): ReplicaCommand {
  const own = Object.fromEntries(
    Object.entries(values).filter(([name]) => !ROUTER_FLAGS.some((own) => own === name)),
  );
  const flags = writeFlags({
    ...own,
    "model": weights.model,
    "weight-version": weights.version,
    "served-model-name": model,
    "host": hostname,
    "port": 0,
    "data-parallel-rank": rank,
    "weight-store": store?.path,
    "exit-with-stdin": true,
  });
  return {
    program: Deno.execPath(),
    args: [
      "run",
      "-A",
      "--no-prompt",
      "--quiet",
      import.meta.resolve("../../mod.ts"),
      "serve",
      ...flags,
    ],
    env: {
      ...Object.fromEntries(ROUTER_ENVIRONMENT.map((name) => [environmentName(name), ""])),
      // It names the first weights; later ones that were given no name are named by their files.
      [environmentName("weight-version")]: "",
      [environmentName("api-key")]: apiKey,
    },
  };
}
