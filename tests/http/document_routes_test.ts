/** A server of several engines describes its own API, not that of an engine. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { RouterServer } from "../../src/serving/router/router_server.ts";

const DOCUMENT = {
  openapi: "3.1.0",
  info: { title: "weft", version: "1", description: "An API" },
  security: [{ ApiKey: [] }],
  paths: {
    "/v1/models": { get: { summary: "Models" } },
    "/admin/weights/update": { post: { summary: "Replace" } },
  },
};

/** What a router with an engine says of itself, asked with the key `outer`. */
async function ask(path: string, apiKey?: string): Promise<Response> {
  const engine = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    if (new URL(request.url).pathname === "/openapi.json") return Response.json(DOCUMENT);
    return Response.json({ data: [{ id: "fake" }], choices: [] });
  });
  using router = new RouterServer({ engines: { modelName: "fake" }, apiKey });
  await router.join(`http://127.0.0.1:${engine.addr.port}`, { apiKey: "inner" });
  const headers = { authorization: "Bearer outer" };
  const response = await router.fetch(new Request(`http://router${path}`, { headers }));
  const text = await response.text();
  await engine.shutdown();
  return new Response(text, { status: response.status, headers: response.headers });
}

Deno.test("the document has the routes that clients of the router can use, and its need of a key", async () => {
  const open = await (await ask("/openapi.json")).json();
  assertEquals([Object.keys(open.paths), open.security], [["/v1/models"], []]);
  const guarded = await (await ask("/openapi.json", "outer")).json();
  assertEquals(guarded, { ...DOCUMENT, paths: { "/v1/models": DOCUMENT.paths["/v1/models"] } });
  assertEquals((await ask("/openapi.json", "another")).status, 401);
});

Deno.test("the page shows the same", async () => {
  const page = await ask("/docs");
  assertStringIncludes(page.headers.get("content-security-policy")!, "default-src 'none'");
  const text = await page.text();
  assertStringIncludes(text, "/v1/models");
  assert(!text.includes("/admin"), "verbs of an engine");
});
