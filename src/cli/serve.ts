/**
 * `weft serve`: a model over an OpenAI-compatible HTTP API.
 * @module
 */
import type { LlmEngine } from "../engine/llm_engine.ts";
import { createBalancingPolicy } from "../routing/policies/mod.ts";
import { ModelUpdateManager } from "../routing/updates/model_update_manager.ts";
import { within } from "../routing/within.ts";
import { listen } from "../serving/listen.ts";
import { ReplicaRouter } from "../serving/replica_router.ts";
import { RequestGate } from "../serving/request_gate.ts";
import { createServer } from "../serving/server.ts";
import { EngineFleet } from "../serving/updates/engine_fleet.ts";
import { type KeyOptions, readKeys } from "./api_keys.ts";
import type { Command, Invocation } from "./command.ts";
import { exampleRequest, type ExampleRequestOptions } from "./example_request.ts";
import { SERVE_FLAGS } from "./flags.ts";
import { disposeAll, loadReplicas } from "./load_replicas.ts";
import { modelFolder } from "./model_folder.ts";
import { UsageError } from "./parse_flags.ts";
import { FINE_STEP } from "./progress.ts";
import { requestLogging } from "./request_logging.ts";
import { serveFleet } from "./serve_fleet.ts";
import { bind, DRAIN_MS, exitWithStdin, stopSignal } from "./serving_process.ts";

type Flags = typeof SERVE_FLAGS;

/** Time between two looks at whether the engine lives, in milliseconds. */
const FAILURE_CHECK_MS = 200;

/** Time for clients to be told that the engine has died, in milliseconds. */
const LAST_WORDS_MS = 500;

/** The command `serve`. */
export const serveCommand: Command<Flags> = {
  name: "serve",
  summary: "Serve a model over an OpenAI-compatible HTTP API",
  example: "weft serve --model DIR --tensor-parallel-size 2 --port 8000",
  flags: SERVE_FLAGS,
  run: serve,
};

async function serve(invocation: Invocation<Flags>): Promise<number> {
  const { values } = invocation;
  const count = values["data-parallel-size"];
  const rank = values["data-parallel-rank"];
  if (rank !== undefined && rank >= count) {
    throw new UsageError(
      `Cannot serve replica ${rank} as --data-parallel-size is too small: current value is ${count}`,
    );
  }
  const address = { hostname: values.host, port: values.port };
  (await bind(address, () => Deno.listen(address))).close(); // Sooner than after a long load.
  const keys = readKeys(values, invocation.host.log);
  const supervised = values["exit-with-stdin"];
  if (supervised) exitWithStdin();
  return count > 1 && rank === undefined
    ? await serveFleet(invocation, keys)
    : await serveReplica(invocation, keys);
}

async function serveReplica(
  { values, host }: Invocation<Flags>,
  keys: KeyOptions,
): Promise<number> {
  const address = { hostname: values.host, port: values.port };
  const supervised = values["exit-with-stdin"];
  const path = values["weight-store"];
  const { folder, name } = await modelFolder(values.model, host);
  const engines = await loadReplicas(values, {
    model: folder,
    host,
    rank: values["data-parallel-rank"] ?? 0,
    weightStore: path === undefined ? undefined : { path },
    weightVersion: values["weight-version"],
    progressStep: supervised ? FINE_STEP : undefined,
  });
  try {
    const gate = new RequestGate({ maxQueuedRequests: values["max-requests"] });
    const updates = new ModelUpdateManager(new EngineFleet(engines[0]));
    const model = values["served-model-name"] ?? name;
    const app = createServer({
      replica: new ReplicaRouter(engines, {
        policy: createBalancingPolicy(values["balancing-policy"]),
      }),
      text: engines[0].text,
      weights: engines[0],
      updates,
      modelName: model,
      ...keys,
      gate,
      ...requestLogging(values, host.log),
    });
    const stop = stopSignal(host, { ignoreInterrupt: supervised });
    await using listener = await bind(
      address,
      () => listen({ fetch: app.fetch, gate, host: values.host, port: values.port }),
    );
    const { url } = listener;
    const request = { url, model, needsKey: keys.apiKey !== undefined, input: inputOf(engines[0]) };
    host.print(`weft ready: ${url}  try: ${exampleRequest(request)}`);
    const failure = supervised ? await endOrFailure(stop, engines[0]) : null;
    if (failure !== null) {
      host.log.error(`the engine has stopped: ${failure}`);
      await listener.shutdown(LAST_WORDS_MS);
      return 1;
    }
    host.log.info(`${await stop}: draining`);
    // Requests may wait for an update that is being called off.
    const ended = updates[Symbol.asyncDispose]();
    await Promise.all([listener.shutdown(DRAIN_MS), within(ended, DRAIN_MS)]);
    return 0;
  } finally {
    await disposeAll(engines);
  }
}

/** Why the engine has died, for whoever starts it again; null when a stop signal came first. */
async function endOrFailure(stop: Promise<unknown>, engine: LlmEngine): Promise<string | null> {
  while (engine.failure === null) if (await within(stop, FAILURE_CHECK_MS)) return null;
  return engine.failure;
}

function inputOf({ text }: LlmEngine): ExampleRequestOptions["input"] {
  if (text === null) return "tokens";
  return text.info.hasChatTemplate ? "chat" : "text";
}
