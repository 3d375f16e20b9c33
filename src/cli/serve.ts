/**
 * `weft serve`: a model over an OpenAI-compatible HTTP API.
 * @module
 */
import type { LlmEngine } from "../engine/llm_engine.ts";
import { createBalancingPolicy } from "../routing/policies/mod.ts";
import { listen } from "../serving/listen.ts";
import { ReplicaRouter } from "../serving/replica_router.ts";
import { RequestGate } from "../serving/request_gate.ts";
import { createServer } from "../serving/server.ts";
import type { CliHost, Command, Invocation } from "./command.ts";
import { exampleRequest, type ExampleRequestOptions } from "./example_request.ts";
import { SERVE_FLAGS } from "./flags.ts";
import { disposeAll, loadReplicas } from "./load_replicas.ts";
import { modelFolder } from "./model_folder.ts";

type Flags = typeof SERVE_FLAGS;

/** Time that running requests have after a stop signal: below the 30 s that Kubernetes allows. */
const DRAIN_MS = 25_000;

/** The command `serve`. */
export const serveCommand: Command<Flags> = {
  name: "serve",
  summary: "Serve a model over an OpenAI-compatible HTTP API",
  example: "weft serve --model DIR --tensor-parallel-size 2 --port 8000",
  flags: SERVE_FLAGS,
  run: serve,
};

async function serve({ values, host }: Invocation<Flags>): Promise<number> {
  const address = { hostname: values.host, port: values.port };
  (await bind(address, () => Deno.listen(address))).close(); // Sooner than after a long load.
  const { folder, name } = await modelFolder(values.model, host);
  const engines = await loadReplicas(values, { model: folder, host });
  try {
    const gate = new RequestGate();
    const model = values["served-model-name"] ?? name;
    const apiKey = values["api-key"];
    const app = createServer({
      replica: new ReplicaRouter(engines, {
        policy: createBalancingPolicy(values["balancing-policy"]),
      }),
      text: engines[0].text,
      modelName: model,
      apiKey,
      gate,
      onError: (error) => host.log.error(error instanceof Error ? error.stack! : String(error)),
    });
    const stop = stopSignal(host);
    await using listener = await bind(
      address,
      () => listen({ fetch: app.fetch, gate, host: values.host, port: values.port }),
    );
    const { url } = listener;
    const request = { url, model, needsKey: apiKey !== undefined, input: inputOf(engines[0]) };
    host.print(`weft ready: ${url}  try: ${exampleRequest(request)}`);
    host.log.info(`${await stop}: draining`);
    await listener.shutdown(DRAIN_MS);
    return 0;
  } finally {
    await disposeAll(engines);
  }
}

/** What `open` returns; when it throws, the error names the address. */
async function bind<T>(
  address: { hostname: string; port: number },
  open: () => T | Promise<T>,
): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot listen on ${address.hostname} port ${address.port}: ${reason}`);
  }
}

function inputOf({ text }: LlmEngine): ExampleRequestOptions["input"] {
  if (text === null) return "tokens";
  return text.info.hasChatTemplate ? "chat" : "text";
}

/** Resolves with the name of the first stop signal; a second one ends the process at once. */
function stopSignal(host: CliHost): Promise<Deno.Signal> {
  const { promise, resolve } = Promise.withResolvers<Deno.Signal>();
  let stopping = false;
  for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    Deno.addSignalListener(signal, () => {
      if (stopping) {
        host.log.warn(`${signal} again: ending at once`);
        Deno.exit(status);
      }
      stopping = true;
      resolve(signal);
    });
  }
  return promise;
}
