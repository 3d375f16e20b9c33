/**
 * Who answers the requests of a batch: engines of this process, or servers.
 * @module
 */
import type { LlmEngine } from "../engine/llm_engine.ts";
import { DEFAULT_MAX_NUM_SEQS } from "../engine/step_limits.ts";
import { explainState } from "../routing/member_status.ts";
import type { BatchServer } from "../serving/batch/answer_batch.ts";
import { ReplicaRouter } from "../serving/replica_router.ts";
import { RequestGate } from "../serving/request_gate.ts";
import { PATIENT_DEADLINES } from "../serving/router/forward.ts";
import { probeServer } from "../serving/router/probe.ts";
import type { ReplicaAddress } from "../serving/router/replica_source.ts";
import { RouterServer } from "../serving/router/router_server.ts";
import { createServer } from "../serving/server.ts";
import type { CliHost } from "./command.ts";
import type { RUN_BATCH_FLAGS } from "./flags.ts";
import { disposeAll, loadReplicas } from "./load_replicas.ts";
import { modelFolder } from "./model_folder.ts";
import type { FlagValues } from "./parse_flags.ts";
import { stackOf } from "./request_logging.ts";

/** The replicas of a batch. */
export interface BatchReplicas extends AsyncDisposable {
  /** How many there are. */
  readonly count: number;
  /** Time that the batch waits when none can answer, in milliseconds. */
  readonly patienceMs: number;
  /** All of them behind one address. */
  readonly all: BatchServer;
  /** The first one alone; the others get nothing from it. */
  readonly first: BatchServer;
}

/** Requests that a server gets at once. */
const SERVER_CONCURRENCY = 64;

/** Time for servers that are started again. */
const PATIENCE_MS = 60_000;

/** Time between two looks at whether a server answers at all. */
const PROBE_MS = 5000;

/** Engines with the layout that the flags name. */
export async function localReplicas(
  values: FlagValues<typeof RUN_BATCH_FLAGS>,
  host: CliHost,
): Promise<BatchReplicas> {
  const { folder, name } = await modelFolder(values.model, host);
  const engines = await loadReplicas(values, { model: folder, host });
  const device = engines[0].info.backend.device === "cuda" ? "cuda" : "cpu";
  const sequences = values["max-num-seqs"] ?? DEFAULT_MAX_NUM_SEQS[device];
  // Some wait in each engine, so that a place that becomes free is not waited for.
  const concurrency = values["max-concurrency"] ?? sequences + Math.ceil(sequences / 8);
  const serverOf = (replicas: readonly LlmEngine[]): BatchServer => {
    const router = new ReplicaRouter(replicas);
    const { fetch } = createServer({
      replica: router,
      text: engines[0].text,
      modelName: values["served-model-name"] ?? name,
      gate: new RequestGate({ maxQueuedRequests: 2 ** 31 - 1 }),
      onError: (error) => host.log.error(stackOf(error)),
    });
    return {
      fetch: (request) => fetch(request),
      failure: () => router.failure,
      concurrency: concurrency * replicas.length,
    };
  };
  return {
    count: engines.length,
    patienceMs: 0,
    all: serverOf(engines),
    first: serverOf(engines.slice(0, 1)),
    [Symbol.asyncDispose]: () => disposeAll(engines),
  };
}

/** Servers at addresses of their own; throws Error when none of them serves. */
export async function remoteReplicas(
  addresses: readonly ReplicaAddress[],
  { values, host }: { readonly values: FlagValues<typeof RUN_BATCH_FLAGS>; readonly host: CliHost },
): Promise<BatchReplicas> {
  const concurrency = values["max-concurrency"] ?? SERVER_CONCURRENCY;
  const routers = new DisposableStack();
  const serverOf = async (addresses: readonly ReplicaAddress[]): Promise<BatchServer> => {
    const router = routers.use(
      new RouterServer({
        gate: new RequestGate({ maxQueuedRequests: 2 ** 31 - 1 }),
        maxQueued: 2 ** 31 - 1,
        deadlines: PATIENT_DEADLINES,
        probe: probeServer,
        probeMs: PROBE_MS,
        slowStartMs: 0,
        onError: (error) => host.log.error(stackOf(error)),
        onChange: (id, reason) =>
          reason === null
            ? host.log.info(`${id}: serves`)
            : host.log.warn(`${id}: down: ${reason}`),
      }),
    );
    await Promise.all(
      addresses.map(({ url, weight }) =>
        router.join(url, { weight, apiKey: values["replica-api-key"], maxConcurrency: concurrency })
      ),
    );
    return {
      fetch: router.fetch,
      failure: () => failureOf(router),
      // One for each waits in the router, so that a place that becomes free is not waited for.
      concurrency: (concurrency + 1) * addresses.length,
    };
  };
  try {
    const all = await serverOf(addresses);
    const failure = all.failure();
    if (failure !== null) throw new Error(`Cannot run the batch as no replica serves: ${failure}`);
    return {
      count: addresses.length,
      patienceMs: PATIENCE_MS,
      all,
      first: values["measure-scaling"] ? await serverOf(addresses.slice(0, 1)) : all,
      [Symbol.asyncDispose]: () => Promise.resolve(routers[Symbol.dispose]()),
    };
  } catch (error) {
    routers[Symbol.dispose]();
    throw error;
  }
}

function failureOf({ replicas }: RouterServer): string | null {
  if (replicas.some(({ serves }) => serves)) return null;
  return replicas.map(explainState).join("; ");
}
