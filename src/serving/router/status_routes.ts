/**
 * `/health`, `/ready`, `/version` and `/metrics` of a router.
 * @module
 */
import type { Env, Hono } from "hono";
import type { ReplicaPool } from "../../routing/replica_pool.ts";
import {
  commonVersion,
  reportHealth,
  type ReportingEngine,
  reportMetrics,
} from "../fleet/engine_reports.ts";
import type { RequestGate } from "../request_gate.ts";
import { VERSION } from "../version.ts";
import type { HttpReplica } from "./http_replica.ts";
import type { RouterMetrics } from "./router_metrics.ts";

/** What the routes tell of. */
export interface StatusContext {
  /** The replicas. */
  readonly pool: ReplicaPool<HttpReplica>;
  /** Whether the router drains, or is full. */
  readonly gate: RequestGate;
  /** The router's own counters. */
  readonly metrics: RouterMetrics;
  /** See {@linkcode RouterServerOptions.engines}. */
  readonly engines: { readonly modelName: string } | undefined;
}

/** Adds the routes. */
export function addStatusRoutes<E extends Env>(
  app: Hono<E>,
  { pool, gate, metrics, engines }: StatusContext,
): void {
  const reporting = (): ReportingEngine[] =>
    pool.members.map(({ id, reason }) => ({ id, reason, target: pool.target(id) }));
  app.get("/health", async (c) => {
    const reports = engines && await reportHealth(reporting());
    const dead = new Set(reports?.filter(({ healthy }) => !healthy).map(({ engine }) => engine));
    const { members } = pool;
    const serving = members.filter(({ serves, id }) => serves && !dead.has(id)).length;
    const status = gate.draining
      ? "draining"
      : serving === 0
      ? "dead"
      : serving < members.length
      ? "degraded"
      : "ok";
    const ready = status === "ok" || status === "degraded";
    const ofEngines = reports && { weight_version: commonVersion(reports), engines: reports };
    const health = { status, balancing: pool.balancing, replicas: members, ...ofEngines };
    return c.json(health, ready ? 200 : 503);
  });
  app.get("/ready", (c) => {
    const status = !pool.serves
      ? "dead"
      : gate.draining
      ? "draining"
      : gate.full
      ? "full"
      : "ready";
    return c.json({ status }, status === "ready" ? 200 : 503);
  });
  app.get("/version", (c) => c.json({ version: VERSION }));
  app.get("/metrics", async (c) => {
    const own = await metrics.text();
    const text = engines ? `${own}\n${await reportMetrics(reporting(), engines)}` : own;
    return c.body(text, 200, { "content-type": metrics.contentType });
  });
}
