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
import type { Command, Invocation } from "./command.ts";
import { exampleRequest, type ExampleRequestOptions } from "./example_request.ts";
import { SERVE_FLAGS } from "./flags.ts";
import { disposeAll, loadReplicas } from "./load_replicas.ts";
import { modelFolder } from "./model_folder.ts";
import { warnOfOpenAdmin } from "./open_admin.ts";
import { bind, DRAIN_MS, stopSignal } from "./serving_process.ts";

type Flags = typeof SERVE_FLAGS;

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
  warnOfOpenAdmin(values, host.log);
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
      adminApiKey: values["admin-api-key"],
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

function inputOf({ text }: LlmEngine): ExampleRequestOptions["input"] {
  if (text === null) return "tokens";
  return text.info.hasChatTemplate ? "chat" : "text";
}
