/**
 * `GET /ready` and `GET /version`
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { ServerContext } from "../server_context.ts";
import { VERSION } from "../version.ts";

const readinessSchema = z.object({
  status: z.enum(["ready", "dead", "draining", "paused", "full"]),
}).openapi("Readiness");

type Readiness = z.infer<typeof readinessSchema>["status"];

const content = { "application/json": { schema: readinessSchema } };

const readyRoute = createRoute({
  method: "get",
  path: "/ready",
  summary: "Whether a request that came now would be served",
  responses: {
    200: { description: "It would", content },
    503: {
      description: "No engine can serve, or the server is draining, paused, or full",
      content,
    },
  },
});

const versionRoute = createRoute({
  method: "get",
  path: "/version",
  summary: "Version of the program",
  responses: {
    200: {
      description: "The version",
      content: { "application/json": { schema: z.object({ version: z.string() }) } },
    },
  },
});

/** Adds the routes. */
export function addReady(app: OpenAPIHono, context: ServerContext): void {
  app.openAPIRegistry.registerPath(readyRoute);
  app.get(readyRoute.path, (c) => {
    const status = readinessOf(context);
    return c.json({ status }, status === "ready" ? 200 : 503);
  });
  app.openAPIRegistry.registerPath(versionRoute);
  app.get(versionRoute.path, (c) => c.json({ version: VERSION }));
}

function readinessOf({ router, gate, weights }: ServerContext): Readiness {
  if (!router.healthy) return "dead";
  if (gate.draining) return "draining";
  if (weights?.weights.paused) return "paused";
  return gate.full ? "full" : "ready";
}
