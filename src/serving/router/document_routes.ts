/**
 * `/openapi.json` and `/docs` of a router whose replicas are the engines of one server.
 * @module
 */
import type { Env, Hono } from "hono";
import type { ReplicaPool } from "../../routing/replica_pool.ts";
import { ApiError } from "../api_error.ts";
import { type ApiDocument, apiPage } from "../api_page.ts";
import { askEngine } from "../fleet/engine_reports.ts";
import { PAGE_POLICY } from "../routes/docs.ts";
import type { HttpReplica } from "./http_replica.ts";

/** What the routes tell of. */
export interface DocumentContext {
  /** The engines. */
  readonly pool: ReplicaPool<HttpReplica>;
  /** Whether the router asks for a key: engines always do. */
  readonly needsKey: boolean;
}

/** Adds the routes: what an engine says of its API, without the verbs below `/admin`, which are for the router only. */
export function addDocumentRoutes<E extends Env>(app: Hono<E>, context: DocumentContext): void {
  app.get("/openapi.json", async (c) => c.json(await documentOf(context)));
  app.get("/docs", async (c) => {
    const page = apiPage(await documentOf(context));
    return c.html(page, 200, { "content-security-policy": PAGE_POLICY });
  });
}

async function documentOf({ pool, needsKey }: DocumentContext): Promise<ApiDocument> {
  const serving = pool.members.find(({ serves }) => serves);
  if (serving === undefined) {
    throw new ApiError("Cannot describe the API as no replica serves", {
      status: 503,
      code: "no_replica",
    });
  }
  const document: ApiDocument = JSON.parse(
    await askEngine(pool.target(serving.id), "/openapi.json"),
  );
  const paths = Object.entries(document.paths).filter(([path]) => !path.startsWith("/admin/"));
  return {
    ...document,
    paths: Object.fromEntries(paths),
    security: needsKey ? document.security : [],
  };
}
