/**
 * `GET /metrics`
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { ServerContext } from "../server_context.ts";

const route = createRoute({
  method: "get",
  path: "/metrics",
  summary: "Metrics in Prometheus' text format",
  responses: {
    200: { description: "The metrics", content: { "text/plain": { schema: z.string() } } },
  },
});

/** Adds the route. */
export function addMetrics(app: OpenAPIHono, { metrics }: ServerContext): void {
  app.openAPIRegistry.registerPath(route);
  app.get(
    route.path,
    async (c) => c.body(await metrics.text(), 200, { "content-type": metrics.contentType }),
  );
}
