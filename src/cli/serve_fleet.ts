/**
 * `weft serve` with several replicas: a process for each, and this one is their router.
 * @module
 */
import { chooseDevice } from "../engine/device_choice.ts";
import { availableMemory } from "../engine/host_resources.ts";
import { givenVersion } from "../engine/weight_version.ts";
import { createBalancingPolicy } from "../routing/policies/mod.ts";
import { within } from "../routing/within.ts";
import { ReplicaStartError, ReplicaSupervisor } from "../serving/fleet/replica_supervisor.ts";
import { listen } from "../serving/listen.ts";
import { RequestGate } from "../serving/request_gate.ts";
import { PATIENT_DEADLINES } from "../serving/router/forward.ts";
import { RouterServer } from "../serving/router/router_server.ts";
import { readTokenizerFiles } from "../text/tokenizer_files.ts";
import type { KeyOptions } from "./api_keys.ts";
import type { Invocation } from "./command.ts";
import { exampleRequest, type ExampleRequestOptions } from "./example_request.ts";
import { FleetLog } from "./fleet_log.ts";
import type { SERVE_FLAGS } from "./flags.ts";
import { modelFolder } from "./model_folder.ts";
import { replicaCommand } from "./replica_command.ts";
import { requestLogging } from "./request_logging.ts";
import { bind, DRAIN_MS, stopSignal } from "./serving_process.ts";
import { openWeightStore } from "./weight_store.ts";

/** Time that replicas have to end once their requests have, in milliseconds. */
const STOP_MS = 3000;

/** Where replicas listen: this machine only. */
const REPLICA_HOST = "127.0.0.1";

/** Starts the replicas, serves until a stop signal, and returns the exit status. */
export async function serveFleet(
  { values, host }: Invocation<typeof SERVE_FLAGS>,
  keys: KeyOptions,
): Promise<number> {
  const count = values["data-parallel-size"];
  bypassProxies(REPLICA_HOST);
  const { folder, name } = await modelFolder(values.model, host);
  const model = values["served-model-name"] ?? name;
  const maxQueued = values["max-requests"] * count;
  const gate = new RequestGate({ maxQueuedRequests: maxQueued });
  const log = new FleetLog(count, host);
  using router = new RouterServer({
    policy: createBalancingPolicy(values["balancing-policy"]),
    ...keys,
    gate,
    engines: { modelName: model },
    maxQueued,
    deadlines: PATIENT_DEADLINES,
    hedgeAfterMs: values["hedge-after"] === undefined ? null : 1000 * values["hedge-after"],
    ...requestLogging(values, host.log),
    onCommit: ({ model, version }) =>
      supervisor.commit({
        model,
        version: givenVersion({ model, version }, values["load-format"]),
      }),
    onChange: (id, reason) => log.changed(Number(id), reason),
    onEject: (id, reason) => log.ejected(Number(id), reason),
  });
  // It is all that keeps other users of this machine from the replicas' ports.
  const apiKey = crypto.getRandomValues(new Uint8Array(32)).toHex();
  using store = openWeightStore(chooseDevice(values.device), host);
  const freeBefore = availableMemory();
  await using supervisor = new ReplicaSupervisor({
    count,
    weights: { model: folder, version: values["weight-version"] },
    command: (rank, weights) =>
      replicaCommand(values, {
        rank,
        weights,
        model,
        apiKey,
        hostname: REPLICA_HOST,
        store: store?.handle,
      }),
    apiKey,
    members: router,
    startTogether: () => fitsOthers(freeBefore, count),
    onLine: (rank, line) => log.line(rank, line),
    onServing: (rank) => log.serves(rank),
    onDown: (rank, reason, retryMs) => log.down(rank, { reason, retryMs }),
  });
  try {
    await supervisor.start();
  } catch (error) {
    throw error instanceof ReplicaStartError ? log.startError(error) : error;
  }
  const stop = stopSignal(host);
  const address = { hostname: values.host, port: values.port };
  // Deno's listener would take 0.13 ms less for a request, but has no deadline for headers, and does not say when
  // a client has gone.
  await using listener = await bind(
    address,
    () => listen({ fetch: router.fetch, gate, host: values.host, port: values.port }),
  );
  const { url } = listener;
  const needsKey = keys.apiKey !== undefined;
  host.print(
    `weft ready: ${url}  try: ${exampleRequest({ url, model, needsKey, input: inputOf(folder) })}`,
  );
  host.log.info(`${await stop}: draining`);
  supervisor.release();
  // Requests may wait for an update that is being called off.
  await Promise.all([listener.shutdown(DRAIN_MS), within(router.endUpdates(), DRAIN_MS)]);
  await supervisor.stop(STOP_MS);
  return 0;
}

/** Requests to a host go there, whatever proxies the environment names for others. */
function bypassProxies(hostname: string): void {
  const others = Deno.env.get("NO_PROXY") ?? Deno.env.get("no_proxy");
  Deno.env.set("NO_PROXY", others ? `${others},${hostname}` : hostname);
}

/**
 * Whether the host has memory for the other replicas, by what the first one took. Where it does not, each must see
 * what those before it have left, so that the one that does not fit says so.
 */
function fitsOthers(freeBefore: number, count: number): boolean {
  const free = availableMemory();
  return (count - 1) * (freeBefore - free) < free;
}

/** As a replica found it: the folder was good enough for it. */
function inputOf(folder: string): ExampleRequestOptions["input"] {
  try {
    return readTokenizerFiles(folder).chatTemplate === null ? "text" : "chat";
  } catch {
    return "tokens";
  }
}
