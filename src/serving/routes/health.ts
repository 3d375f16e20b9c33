/**
 * `GET /health`
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { ServerContext } from "../server_context.ts";

const healthSchema = z.object({
  status: z.enum(["ok", "degraded", "dead", "draining"]),
  balancing: z.string(),
  weight_version: z.string().nullable().openapi({
    description: "Weights that new requests get; null where they cannot change.",
  }),
  engines: z.array(z.object({
    engine: z.string(),
    healthy: z.boolean(),
    failure: z.string().nullable(),
    running: z.int(),
    waiting: z.int(),
    backend: z.record(z.string(), z.union([z.string(), z.number()])),
  })),
}).openapi("Health");

type Health = z.infer<typeof healthSchema>;

const content = { "application/json": { schema: healthSchema } };

const route = createRoute({
  method: "get",
  path: "/health",
  summary: "Whether requests are served",
  responses: {
    200: { description: "`ok`, or `degraded` when some engines are dead", content },
    503: { description: "`dead` when no engine can serve, or `draining`", content },
  },
});

/** Adds the route. */
export function addHealth(app: OpenAPIHono, context: ServerContext): void {
  app.openAPIRegistry.registerPath(route);
  app.get(route.path, (c) => {
    const health = describe(context);
    const serves = health.status === "ok" || health.status === "degraded";
    return c.json(health, serves ? 200 : 503);
  });
}

function describe({ router, gate, weights }: ServerContext): Health {
  const engines = router.replicas.map(({ healthy, failure, stats, info }, engine) => ({
    engine: String(engine),
    healthy,
    failure,
    running: stats.running,
    waiting: stats.waiting,
    backend: { ...info.backend },
  }));
  const status = !router.healthy
    ? "dead"
    : gate.draining
    ? "draining"
    : engines.every(({ healthy }) => healthy)
    ? "ok"
    : "degraded";
  const weight_version = weights?.weights.current.version ?? null;
  return { status, balancing: router.balancing, weight_version, engines };
}
