/**
 * `GET /openapi.json`, and `GET /docs`, which shows it to people.
 * @module
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { type ApiDocument, apiPage } from "../api_page.ts";
import { VERSION } from "../version.ts";

/** The page runs no script and loads nothing. */
export const PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/** Name of the way in which requests bring their keys. */
const SCHEME = "ApiKey";

/** Adds the routes; to be called when all others are there. `needsKey` tells whether requests must bring a key. */
export function addDocs(app: OpenAPIHono, { needsKey }: { readonly needsKey: boolean }): void {
  if (needsKey) {
    app.openAPIRegistry.registerComponent("securitySchemes", SCHEME, {
      type: "http",
      scheme: "bearer",
    });
  }
  const config = {
    openapi: "3.1.0",
    security: needsKey ? [{ [SCHEME]: [] }] : [],
    info: { title: "weft", version: VERSION, description: "OpenAI-compatible inference" },
  };
  app.doc31("/openapi.json", config);
  app.get("/docs", (c) => {
    // The document is plain JSON; its type knows OpenAPI's extensions as well.
    const document = app.getOpenAPI31Document(config) as unknown as ApiDocument;
    return c.html(apiPage(document), 200, { "content-security-policy": PAGE_POLICY });
  });
}
