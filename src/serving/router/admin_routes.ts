/**
 * `/admin/replicas`: replicas join, leave, drain and change their share while requests flow.
 * @module
 */
import { Hono } from "hono";
import { z } from "zod";
import type { ReplicaPool } from "../../routing/replica_pool.ts";
import { ApiError, badRequest } from "../api_error.ts";
import { type BodyLimits, readJsonBody } from "../request_body.ts";
import { validate } from "../validation.ts";
import type { HttpReplica } from "./http_replica.ts";
import type { ReplicaRegistry } from "./replica_registry.ts";

const keySchema = z.string().regex(/^[\x21-\x7e]+$/);

const joinSchema = z.strictObject({
  url: z.url({ protocol: /^https?$/ }),
  weight: z.number().positive().max(1e6).optional(),
  max_concurrency: z.int().positive().optional(),
  api_key: keySchema.optional(),
  admin_api_key: keySchema.optional(),
});

const changeSchema = z.strictObject({ weight: z.number().positive().max(1e6) });

/** What the admin routes work on. */
export interface AdminContext {
  /** The replicas. */
  readonly pool: ReplicaPool<HttpReplica>;
  /** Lets replicas in and out. */
  readonly registry: ReplicaRegistry;
  /** Limits of bodies. */
  readonly limits: BodyLimits;
  /** Time that a replica has to end its requests before it leaves, in milliseconds. */
  readonly drainMs: number;
}

/** The routes, to be mounted at `/admin/replicas`. */
export function adminRoutes({ pool, registry, limits, drainMs }: AdminContext): Hono {
  const app = new Hono();
  const list = () => ({
    replicas: pool.members.map((member) => ({ ...member, url: pool.target(member.id).url })),
  });
  app.get("/", (c) => c.json(list()));
  app.post("/", async (c) => {
    const { url, api_key: apiKey, admin_api_key: adminApiKey, ...rest } = validate(
      joinSchema,
      await readJsonBody(c.req.raw, limits),
    );
    const { weight, max_concurrency: maxConcurrency } = rest;
    const options = { apiKey, adminApiKey, weight, maxConcurrency };
    try {
      return c.json({ id: await registry.join(url, options), ...list() }, 201);
    } catch (error) {
      throw error instanceof RangeError ? badRequest(error.message, "url") : error;
    }
  });
  app.patch("/:id", async (c) => {
    const id = known(c.req.param("id"));
    pool.setWeight(id, validate(changeSchema, await readJsonBody(c.req.raw, limits)).weight);
    return c.json(list());
  });
  app.delete("/:id", async (c) => {
    await registry.leave(known(c.req.param("id")), drainMs);
    return c.json(list());
  });
  app.post("/:id/drain", async (c) => {
    await pool.drain(known(c.req.param("id")));
    return c.json(list());
  });
  app.post("/:id/resume", (c) => {
    pool.resume(known(c.req.param("id")));
    return c.json(list());
  });
  return app;

  function known(id: string): string {
    if (pool.members.some((member) => member.id === id)) return id;
    const names = pool.members.map((member) => member.id).join(", ") || "there is none";
    throw new ApiError(`Cannot find the replica: ${id.slice(0, 200)} (replicas: ${names})`, {
      status: 404,
      code: "replica_not_found",
    });
  }
}
