/**
 * The OpenAI-compatible server as a Hono app.
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { methodNotAllowed } from "hono/method-not-allowed";
import type { Replica } from "../engine/types.ts";
import type { UpdatableWeights } from "../engine/weights.ts";
import { ModelUpdateManager } from "../routing/updates/model_update_manager.ts";
import { jsonOnly } from "./admin/json_only.ts";
import { addWeightRoutes } from "./admin/weight_routes.ts";
import { ApiError, internalError, toApiError } from "./api_error.ts";
import { type ApiKeys, type KeyHolders, requireApiKeys } from "./authentication.ts";
import { answerFingerprint, backendFingerprint } from "./fingerprint.ts";
import { type KeyLimitOptions, KeyLimits } from "./key_limits.ts";
import { ServerMetrics } from "./metrics.ts";
import { ReplicaRouter } from "./replica_router.ts";
import { RequestGate } from "./request_gate.ts";
import { RequestLog, type RequestRecord } from "./request_log.ts";
import { addChatCompletions } from "./routes/chat_completions.ts";
import { addCompletions } from "./routes/completions.ts";
import { addDocs } from "./routes/docs.ts";
import { addHealth } from "./routes/health.ts";
import { addMetrics } from "./routes/metrics.ts";
import { addModels } from "./routes/models.ts";
import { addReady } from "./routes/ready.ts";
import { addTokenize } from "./routes/tokenize.ts";
import type { ServerContext } from "./server_context.ts";
import type { TextService } from "./text_service.ts";
import { EngineFleet } from "./updates/engine_fleet.ts";
import { updateRoutes } from "./updates/update_routes.ts";

/** Options of {@linkcode createServer}. */
export interface ServerOptions extends ApiKeys {
  /** What generates: an engine, or a {@linkcode ReplicaRouter} over several. The caller disposes it. */
  readonly replica: Replica;
  /** Tokenizer and chat template; null when the model has none: prompts are token ids then. */
  readonly text: TextService | null;
  /** Name of the model in answers. */
  readonly modelName: string;
  /** Further names by which requests may ask for it. */
  readonly aliases?: readonly string[];
  /**
   * What the routes below `/admin` pause and update: the engine, or what updates all of them where `replica` is a
   * router. Without it there are no such routes.
   */
  readonly weights?: UpdatableWeights;
  /**
   * Updates `weights` as `POST /admin/updates` asks for it. Dispose it when the server stops: an update that is called
   * off lets requests go on. Default: one of its own, which ends with the process.
   */
  readonly updates?: ModelUpdateManager;
  /** Limits of what is asked with each API key; of all requests where no key is asked for. Default: none. */
  readonly keyLimits?: KeyLimitOptions;
  /** Admission; share it with {@linkcode listen} so that a shutdown drains. Default: one of its own. */
  readonly gate?: RequestGate;
  /** Bytes of a request body at most. Default 8 MiB. */
  readonly maxBodyBytes?: number;
  /** Time in which a request body must arrive, in milliseconds. Default 30000. */
  readonly bodyTimeoutMs?: number;
  /** Time that a streaming client may leave an event unread, in milliseconds. Default 120000. */
  readonly stallTimeoutMs?: number;
  /**
   * Names the backend in the fingerprint of answers; a hash of their weights' version follows it. Default: a hash
   * of architecture, device, kernels and weight format.
   */
  readonly systemFingerprint?: string;
  /** Receives unexpected errors, which clients see as a 500 without details, and the requests that met them. */
  readonly onError?: (error: unknown, requestId?: string) => void;
  /** Is told of every request that has been answered. */
  readonly onRequest?: (record: RequestRecord) => void;
}

/** A Hono app whose routes also describe themselves (`@hono/zod-openapi`). */
export type ServerApp = OpenAPIHono;

/**
 * An OpenAI-compatible app: `/v1/completions`, `/v1/chat/completions`, `/v1/models`, `/tokenize`, `/detokenize`,
 * `/health`, `/ready`, `/version`, `/metrics`, `/openapi.json` and `/docs`, and with `weights` the verbs below
 * `/admin`. It can be served as it is or mounted in another Hono app.
 *
 * Throws RangeError when a name is empty, a key is not printable ASCII without spaces, or a limit is
 * not a count from 1 to 2^31 - 1.
 *
 * @example
 * ```ts
 * import { createServer, listen, RequestGate } from "@weft/weft/server";
 * import { LlmEngine, TextProcessor } from "@weft/weft";
 * await using replica = await LlmEngine.load({ model: "models/demo" });
 * using text = await TextProcessor.load("models/demo");
 * const gate = new RequestGate();
 * const app = createServer({ replica, text, modelName: "demo", gate });
 * await using server = await listen({ fetch: app.fetch, gate, port: 8000 });
 * console.log(server.url);
 * ```
 */
export function createServer(options: ServerOptions): ServerApp {
  const app = new OpenAPIHono();
  const requests = new RequestLog(options.onRequest);
  requests.watch(app);
  const keys = requireApiKeys(app, options);
  const context = createContext(options, { requests, keys });
  const { onError } = context;
  app.onError((error, c) => {
    const known = toApiError(error);
    if (known === null) onError(error, requests.idOf(c.req.raw));
    return (known ?? internalError()).response;
  });
  app.notFound((c) => notFound(c.req.method, c.req.path).response);
  app.use("/admin/*", jsonOnly);
  app.use(methodNotAllowed({
    app,
    onMethodNotAllowed: (c, methods) => notAllowed(c.req.method, methods).response,
  }));
  addCompletions(app, context);
  addChatCompletions(app, context);
  addTokenize(app, context);
  addModels(app, context);
  addHealth(app, context);
  addReady(app, context);
  addMetrics(app, context);
  const { weights, limits } = context;
  if (weights !== null) {
    addWeightRoutes(app, weights, limits);
    const { updates = new ModelUpdateManager(new EngineFleet(weights)) } = options;
    app.route("/admin/updates", updateRoutes(updates, { limits, onError }));
  }
  addDocs(app, { needsKey: options.apiKey !== undefined });
  return app;
}

function createContext(
  options: ServerOptions,
  { requests, keys }: { readonly requests: RequestLog; readonly keys: KeyHolders },
): ServerContext {
  const { replica, modelName, aliases = [], weights = null } = options;
  if ([modelName, ...aliases].includes("")) {
    throw new RangeError("Cannot name the model as the name is empty");
  }
  const backend = options.systemFingerprint ?? backendFingerprint(replica.info);
  const gate = options.gate ?? new RequestGate();
  const limits = new KeyLimits(options.keyLimits);
  const router = replica instanceof ReplicaRouter ? replica : new ReplicaRouter([replica]);
  return {
    router,
    text: options.text,
    modelNames: [modelName, ...aliases],
    created: Math.floor(Date.now() / 1000),
    weights,
    systemFingerprint: (weightVersion) => answerFingerprint(backend, weightVersion),
    gate,
    enter: (request) => enterBoth(gate, () => limits.enter(keys.keyOf(request))),
    requests,
    metrics: new ServerMetrics(router, { modelName, weights }),
    limits: {
      maxBodyBytes: positive("maxBodyBytes", options.maxBodyBytes ?? 8 * 1024 * 1024),
      bodyTimeoutMs: positive("bodyTimeoutMs", options.bodyTimeoutMs ?? 30_000),
      stallTimeoutMs: positive("stallTimeoutMs", options.stallTimeoutMs ?? 120_000),
    },
    onError: options.onError ?? (() => {}),
  };
}

/** A place at the gate, and within the limits of a key: who finds no room there has not been counted here. */
function enterBoth(gate: RequestGate, enterKey: () => Disposable): Disposable {
  using places = new DisposableStack();
  places.use(gate.enter());
  places.use(enterKey());
  return places.move();
}

function positive(name: string, value: number): number {
  // Timers take 31 bits and fire at once beyond.
  if (Number.isInteger(value) && value > 0 && value < 2 ** 31) return value;
  throw new RangeError(`Cannot limit requests as ${name} is not a count below 2^31: ${value}`);
}

function notFound(method: string, path: string): ApiError {
  return new ApiError(`Cannot find the route: ${method} ${path.slice(0, 200)}`, {
    status: 404,
    code: "route_not_found",
  });
}

function notAllowed(method: string, methods: readonly string[]): ApiError {
  const allow = methods.join(", ");
  return new ApiError(`Cannot use the method on this route: ${method} (allowed: ${allow})`, {
    status: 405,
    code: "method_not_allowed",
    headers: { allow },
  });
}
