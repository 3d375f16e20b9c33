/**
 * `weft route`: one address for many servers.
 * @module
 */
import { createBalancingPolicy } from "../routing/policies/mod.ts";
import { within } from "../routing/within.ts";
import { RequestGate } from "../serving/request_gate.ts";
import { listenRouter } from "../serving/router/listen_router.ts";
import { ReplicaDiscovery } from "../serving/router/replica_discovery.ts";
import {
  addressSource,
  fileSource,
  parseReplicaAddress,
  type ReplicaAddress,
} from "../serving/router/replica_source.ts";
import { RouterServer } from "../serving/router/router_server.ts";
import { readKeys } from "./api_keys.ts";
import type { Command, Invocation } from "./command.ts";
import { ROUTE_FLAGS } from "./flags.ts";
import { UsageError } from "./parse_flags.ts";
import { requestLogging } from "./request_logging.ts";
import { bind, DRAIN_MS, stopSignal } from "./serving_process.ts";

type Flags = typeof ROUTE_FLAGS;

/** Time between two looks at files and names, in milliseconds. */
const LOOK_MS = 5000;

/** The command `route`. */
export const routeCommand: Command<Flags> = {
  name: "route",
  summary: "Spread requests over servers that speak the OpenAI API",
  example: "weft route --replica http://10.0.0.1:8000 --replica http://10.0.0.2:8000=2",
  flags: ROUTE_FLAGS,
  run: route,
};

async function route({ values, given, host }: Invocation<Flags>): Promise<number> {
  const addresses = given.filter(({ name }) => name === "replica").map(({ value }) => read(value));
  const file = values["replicas-file"];
  const sources = addresses.map(addressSource);
  if (file !== undefined) sources.push(fileSource(file));
  if (sources.length === 0) {
    throw new UsageError(
      "Cannot route as no replica is named: --replica URL or --replicas-file FILE",
    );
  }
  const keys = readKeys(values, host.log);
  const onError = (error: unknown): void =>
    host.log.error(error instanceof Error ? error.message : String(error));
  const gate = new RequestGate({ maxQueuedRequests: values["max-requests"] });
  using router = new RouterServer({
    policy: createBalancingPolicy(values["balancing-policy"]),
    ...keys,
    gate,
    // Who was let in may wait: while an update holds all requests none must be lost.
    maxQueued: values["max-requests"],
    probeMs: 1000 * values["probe-interval"],
    hedgeAfterMs: values["hedge-after"] === undefined ? null : 1000 * values["hedge-after"],
    ...requestLogging(values, host.log),
    onChange: (id, reason) =>
      reason === null ? host.log.info(`${id}: serves`) : host.log.warn(`${id}: down: ${reason}`),
    onEject: (id, reason) => host.log.warn(`${id}: ejected: ${reason}`),
  });
  const stop = stopSignal(host);
  const address = { hostname: values.host, port: values.port };
  await using listener = await bind(
    address,
    () => listenRouter({ router, gate, host: values.host, port: values.port }),
  );
  using discovery = new ReplicaDiscovery({
    registry: router,
    sources,
    apiKey: values["replica-api-key"],
    adminApiKey: values["replica-admin-api-key"],
    maxConcurrency: values["max-concurrency"],
    intervalMs: LOOK_MS,
    drainMs: DRAIN_MS,
    onError,
  });
  await discovery.start();
  host.print(`weft router ready: ${listener.url}`);
  host.log.info(`${await stop}: draining`);
  // Requests may wait for an update that is being called off.
  await Promise.all([listener.shutdown(DRAIN_MS), within(router.endUpdates(), DRAIN_MS)]);
  return 0;
}

function read(value: unknown): ReplicaAddress {
  try {
    return parseReplicaAddress(String(value));
  } catch (error) {
    throw new UsageError((error as RangeError).message);
  }
}
