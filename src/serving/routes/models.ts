/**
 * `GET /v1/models` and `GET /v1/models/{model}`
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { generationErrors } from "../schema/error.ts";
import { checkModel, type ServerContext } from "../server_context.ts";

const modelSchema = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
  root: z.string(),
  parent: z.null(),
  max_model_len: z.int(),
}).openapi("Model");

type Model = z.infer<typeof modelSchema>;

const listRoute = createRoute({
  method: "get",
  path: "/v1/models",
  summary: "Names of the model served here",
  responses: {
    200: {
      description: "The model under each of its names",
      content: {
        "application/json": {
          schema: z.object({ object: z.literal("list"), data: z.array(modelSchema) }),
        },
      },
    },
  },
});

const modelRoute = createRoute({
  method: "get",
  path: "/v1/models/{model}",
  summary: "The model of one name",
  request: { params: z.object({ model: z.string() }) },
  responses: {
    200: { description: "The model", content: { "application/json": { schema: modelSchema } } },
    404: generationErrors[404],
  },
});

/** Adds the routes. */
export function addModels(app: OpenAPIHono, context: ServerContext): void {
  const describe = (id: string): Model => ({
    id,
    object: "model",
    created: context.created,
    owned_by: "weft",
    root: context.modelNames[0],
    parent: null,
    max_model_len: context.router.info.maxModelLen,
  });
  app.openAPIRegistry.registerPath(listRoute);
  app.get(
    listRoute.path,
    (c) => c.json({ object: "list", data: context.modelNames.map(describe) }),
  );
  app.openAPIRegistry.registerPath(modelRoute);
  // Names of models hold slashes, and not every client escapes them.
  app.get("/v1/models/:model{.+}", (c) => {
    const model = c.req.param("model");
    checkModel(context, model);
    return c.json(describe(model));
  });
}
