/**
 * The verbs of `/admin` by which an engine is paused and its weights change.
 * @module
 */
import { createRoute, type OpenAPIHono, type z } from "@hono/zod-openapi";
import type {
  LoadedWeights,
  UpdatableWeights,
  WeightsFolder,
  WeightsStatus,
} from "../../engine/weights.ts";
import { type BodyLimits, readOptionalJsonBody } from "../request_body.ts";
import { weightErrors } from "../schema/error.ts";
import {
  checkedSchema,
  checkSchema,
  emptySchema,
  pauseSchema,
  weightsFolderSchema,
  weightsStatusSchema,
} from "../schema/weights.ts";
import { validate } from "../validation.ts";

/** A `POST` route. */
interface Verb<Fields extends z.ZodType> {
  readonly summary: string;
  /** What the body may hold; no body is the same as one without fields. */
  readonly fields: Fields;
  readonly run: (fields: z.output<Fields>) => unknown;
}

/**
 * Adds the routes. Each answers when it is done, which may take as long as weights take to load or requests to end.
 * What was asked for goes on when the client leaves before.
 */
export function addWeightRoutes(
  app: OpenAPIHono,
  weights: UpdatableWeights,
  limits: BodyLimits,
): void {
  const content = json(weightsStatusSchema);
  const route = createRoute({
    method: "get",
    path: "/admin/weights",
    summary: "The weights that are loaded",
    responses: { 200: { description: "The weights", content } },
  });
  app.openAPIRegistry.registerPath(route);
  app.get(route.path, (c) => c.json(statusOf(weights.weights)));
  addChange("/admin/pause", {
    summary: "Let new requests wait",
    fields: pauseSchema,
    run: ({ mode }) => weights.pause(mode),
  });
  addChange("/admin/resume", {
    summary: "Let requests go on",
    fields: emptySchema,
    run: () => weights.resume(),
  });
  addChange("/admin/weights/prepare", {
    summary: "Load weights beside those that serve",
    fields: weightsFolderSchema,
    run: (folder) => weights.prepareWeights(toFolder(folder)),
  });
  addChange("/admin/weights/activate", {
    summary: "Give new requests the prepared weights",
    fields: emptySchema,
    run: () => weights.activateWeights(),
  });
  addChange("/admin/weights/revert", {
    summary: "Give new requests the previous weights again",
    fields: emptySchema,
    run: () => weights.revertWeights(),
  });
  addChange("/admin/weights/release", {
    summary: "Free prepared and previous weights",
    fields: emptySchema,
    run: () => weights.releaseWeights(),
  });
  addChange("/admin/weights/update", {
    summary: "Replace the weights in place",
    fields: weightsFolderSchema,
    run: (folder) => weights.updateWeights(toFolder(folder)),
  });
  add("/admin/weights/check", checkedSchema, {
    summary: "Continue prompts greedily, with weights that need not serve",
    fields: checkSchema,
    run: async ({ set, prompts, max_tokens }) => ({
      outputs: await weights.checkWeights(set, prompts, max_tokens),
    }),
  });

  function addChange<Fields extends z.ZodType>(path: string, verb: Verb<Fields>): void {
    const run = async (fields: z.output<Fields>) => {
      await verb.run(fields);
      return statusOf(weights.weights);
    };
    add(path, weightsStatusSchema, { ...verb, run });
  }

  function add<Fields extends z.ZodType>(
    path: string,
    answer: z.ZodType,
    { summary, fields, run }: Verb<Fields>,
  ): void {
    app.openAPIRegistry.registerPath(createRoute({
      method: "post",
      path,
      summary,
      request: { body: { content: json(fields) } },
      responses: { 200: { description: "It is done", content: json(answer) }, ...weightErrors },
    }));
    app.post(path, async (c) => {
      const body = await readOptionalJsonBody(c.req.raw, limits);
      return Response.json(await run(validate(fields, body)));
    });
  }
}

function json<Schema extends z.ZodType>(
  schema: Schema,
): { readonly "application/json": { readonly schema: Schema } } {
  return { "application/json": { schema } };
}

function toFolder(
  { model, sha256, version }: z.output<typeof weightsFolderSchema>,
): WeightsFolder {
  return { model, sha256: sha256 ?? undefined, version: version ?? undefined };
}

function statusOf(
  { paused, current, prepared, previous }: WeightsStatus,
): z.input<typeof weightsStatusSchema> {
  const shown = ({ version, model }: LoadedWeights) => ({ version, model });
  return {
    paused,
    current: shown(current),
    prepared: prepared && shown(prepared),
    previous: previous && shown(previous),
  };
}
