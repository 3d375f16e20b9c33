/**
 * `/admin/updates`: new weights for all replicas, while requests flow.
 * @module
 */
import { Hono } from "hono";
import { UpdateError } from "../../routing/updates/errors.ts";
import type { ModelUpdate } from "../../routing/updates/model_update.ts";
import type { ModelUpdateManager } from "../../routing/updates/model_update_manager.ts";
import type { UpdateEvent } from "../../routing/updates/update_log.ts";
import { ApiError } from "../api_error.ts";
import { type BodyLimits, readJsonBody } from "../request_body.ts";
import { sseResponse } from "../sse.ts";
import { validate } from "../validation.ts";
import { toUpdateRequest, updateSchema } from "./update_schema.ts";

/** Time that whoever follows events may leave one unread, in milliseconds. */
const STALL_MS = 120_000;

/** Options of {@linkcode updateRoutes}. */
export interface UpdateRoutesOptions {
  /** Limits of bodies. */
  readonly limits: BodyLimits;
  /** Receives unexpected errors. */
  readonly onError: (error: unknown) => void;
}

/** The routes, to be mounted at `/admin/updates`. */
export function updateRoutes(
  manager: ModelUpdateManager,
  { limits, onError }: UpdateRoutesOptions,
): Hono {
  const app = new Hono();
  app.get("/", (c) => c.json({ updates: manager.updates.map(summaryOf) }));
  app.post("/", async (c) => {
    const body = validate(updateSchema, await readJsonBody(c.req.raw, limits));
    const update = await answered(manager.start(toUpdateRequest(body)));
    return c.json(summaryOf(update), 202);
  });
  app.get("/:id", (c) => c.json(detailsOf(known(c.req.param("id")))));
  app.get("/:id/events", (c) => {
    const { log } = known(c.req.param("id"));
    const resources = { [Symbol.dispose]() {} };
    return sseResponse(shownEvents(log.follow()), { resources, stallTimeoutMs: STALL_MS, onError });
  });
  app.post("/:id/cancel", async (c) => {
    const update = known(c.req.param("id"));
    // deno-lint-ignore require-await -- what it throws is answered
    await answered((async () => manager.cancel(update.id))());
    return c.json(detailsOf(update), 202);
  });
  app.post("/:id/revert", async (c) => {
    const update = known(c.req.param("id"));
    await answered(manager.revert(update.id));
    return c.json(detailsOf(update));
  });
  return app;

  function known(id: string): ModelUpdate {
    const update = manager.updates.find((candidate) => candidate.id === id);
    if (update !== undefined) return update;
    const names = manager.updates.map((candidate) => candidate.id).join(", ") || "there is none";
    throw new ApiError(`Cannot find the update: ${id.slice(0, 200)} (updates: ${names})`, {
      status: 404,
      code: "update_not_found",
    });
  }
}

async function answered<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof UpdateError)) throw error;
    const [status, code] = error.reason === "busy"
      ? [409, "update_conflict"]
      : [400, "update_refused"];
    throw new ApiError(error.message, { status, code });
  }
}

/** An update without its events. */
function summaryOf(update: ModelUpdate): object {
  const { id, strategy, source, state, error, kept, startedAt, endedAt } = update;
  return {
    id,
    strategy,
    model: source.model,
    version: source.version ?? null,
    state,
    error: error && { message: error.message, replica: error.replica },
    revertible: kept,
    started_at: startedAt / 1000,
    ended_at: endedAt && endedAt / 1000,
  };
}

function detailsOf(update: ModelUpdate): object {
  return { ...summaryOf(update), events: update.log.events.map(shown) };
}

function shown({ time, ...event }: UpdateEvent): object {
  return { ...event, time: time / 1000 };
}

async function* shownEvents(events: AsyncIterable<UpdateEvent>): AsyncGenerator<object, void> {
  for await (const event of events) yield shown(event);
}
