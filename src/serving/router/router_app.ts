/**
 * The routes of a router.
 * @module
 */
import { type Context, Hono } from "hono";
import type { CoarseTimers } from "../../routing/coarse_timers.ts";
import type { ReplicaPool } from "../../routing/replica_pool.ts";
import { RetryBudget } from "../../routing/retry_budget.ts";
import type { ModelUpdateManager } from "../../routing/updates/model_update_manager.ts";
import { jsonOnly } from "../admin/json_only.ts";
import { ApiError, internalError } from "../api_error.ts";
import { requireApiKeys } from "../authentication.ts";
import type { ConnectionInfo } from "../connection_info.ts";
import type { BodyLimits } from "../request_body.ts";
import { KeyLimits } from "../key_limits.ts";
import { RequestGate } from "../request_gate.ts";
import { RequestLog } from "../request_log.ts";
import { updateRoutes } from "../updates/update_routes.ts";
import { adminRoutes } from "./admin_routes.ts";
import { addDocumentRoutes } from "./document_routes.ts";
import { forward, type Forwarding, RefusedError } from "./forward.ts";
import { ForwardedRequest } from "./forwarded_request.ts";
import { GuestBook } from "./guest.ts";
import type { HttpReplica } from "./http_replica.ts";
import type { ReplicaRegistry } from "./replica_registry.ts";
import type { RouterMetrics } from "./router_metrics.ts";
import type { RouterServerOptions } from "./router_server.ts";
import { addStatusRoutes } from "./status_routes.ts";
import { readWholeBody } from "./whole_body.ts";

/** The client's connection, where whoever serves knows it. */
export interface RouterEnv {
  /** As `Deno.serve` tells it. */
  readonly Bindings: ConnectionInfo | undefined;
}

/** The routes as a Hono app. */
export type RouterApp = Hono<RouterEnv>;

/** What the routes work on. */
export interface RouterParts {
  /** The replicas. */
  readonly pool: ReplicaPool<HttpReplica>;
  /** Lets replicas in and out. */
  readonly registry: ReplicaRegistry;
  /** Counters. */
  readonly metrics: RouterMetrics;
  /** Changes the replicas' weights. */
  readonly updates: ModelUpdateManager;
  /** Times requests. */
  readonly timers: CoarseTimers;
}

/** Paths of the replicas' own. */
const PASSED_ON = ["/v1/*", "/tokenize", "/detokenize", "/openapi.json", "/docs"];

/** Time that a replica which leaves has for its requests, in milliseconds. */
const LEAVE_MS = 120_000;

/** The app. Throws RangeError when a key is not printable ASCII. */
export function createRouterApp(parts: RouterParts, options: RouterServerOptions): RouterApp {
  const { pool, registry, metrics, updates, timers } = parts;
  const gate = options.gate ?? new RequestGate();
  const limits = { maxBodyBytes: 8 * 1024 * 1024, bodyTimeoutMs: 30_000, ...options.limits };
  const onError = options.onError ?? (() => {});
  const requests = new RequestLog(options.onRequest);
  const app: RouterApp = new Hono();
  requests.watch(app);
  app.onError((error, c) => {
    const response = toResponse(error, (unknown) => onError(unknown, requests.idOf(c.req.raw)));
    metrics.observeAnswer(response.status);
    return response;
  });
  app.notFound((c) =>
    new ApiError(`Cannot find the route: ${c.req.method} ${c.req.path.slice(0, 200)}`, {
      status: 404,
      code: "route_not_found",
    }).response
  );
  const keys = requireApiKeys(app, options);
  const keyLimits = new KeyLimits(options.keyLimits);
  app.use("/admin/*", jsonOnly);
  addStatusRoutes(app, { pool, gate, metrics, engines: options.engines });
  if (options.engines !== undefined) {
    addDocumentRoutes(app, { pool, needsKey: options.apiKey !== undefined });
  }
  app.route("/admin/updates", updateRoutes(updates, { limits, onError }));
  app.route("/admin/replicas", adminRoutes({ pool, registry, limits, drainMs: LEAVE_MS }));
  const pass = passingOn({
    limits,
    timers,
    requests,
    guests: new GuestBook(gate, timers),
    enterKey: (request) => keyLimits.enter(keys.keyOf(request)),
    forwarding: forwardingOf(parts, options),
  });
  for (const path of PASSED_ON) {
    app.all(path, async (c) => {
      const response = await pass(c);
      metrics.observeAnswer(response.status);
      return response;
    });
  }
  return app;
}

function forwardingOf(
  { pool, metrics, timers }: RouterParts,
  { deadlines, hedgeAfterMs = null }: RouterServerOptions,
): Forwarding {
  return {
    pool,
    budget: new RetryBudget(),
    deadlines: {
      queueMs: 30_000,
      firstByteMs: 60_000,
      wholeMs: 600_000,
      stallMs: 120_000,
      ...deadlines,
    },
    hedgeAfterMs,
    observer: metrics,
    timers,
    onFirstByte: (id, seconds) => metrics.observeFirstByte(id, seconds),
  };
}

interface PassingOnOptions {
  readonly limits: BodyLimits;
  readonly timers: CoarseTimers;
  readonly requests: RequestLog;
  readonly guests: GuestBook;
  readonly enterKey: (request: Request) => Disposable;
  readonly forwarding: Forwarding;
}

/** Passes requests on to replicas. The place at the gate is given up when the last byte of the answer has left. */
function passingOn(
  { limits, timers, requests, guests, enterKey, forwarding }: PassingOnOptions,
): (c: Context<RouterEnv>) => Promise<Response> {
  return async ({ req: { raw }, env }) => {
    using resources = new DisposableStack();
    const { signal } = resources.use(guests.enter(raw));
    resources.use(requests.hold(raw));
    const bare = raw.method === "GET" || raw.method === "HEAD";
    if (!bare) resources.use(enterKey(raw));
    const body = bare ? null : await readWholeBody(raw, { limits, timers });
    const request = new ForwardedRequest(raw, body, { id: requests.idOf(raw), info: env });
    return await forward(request, forwarding, { signal, resources: resources.move() });
  };
}

function toResponse(error: unknown, onUnexpected: (error: unknown) => void): Response {
  if (error instanceof RefusedError) return error.response;
  if (error instanceof ApiError) return error.response;
  onUnexpected(error);
  return internalError().response;
}
