import { Hono } from "hono";
import { assert, assertEquals } from "@std/assert";
import { createServer } from "../../../src/serving/mod.ts";
import { FakeReplica, FakeText } from "../../http/fake_replica.ts";
import { FakeWeights } from "../../http/fake_weights.ts";

function server() {
  const replica = new FakeReplica();
  const weights = new FakeWeights(replica);
  const keys = { apiKey: "key", adminApiKey: "admin" };
  return createServer({ replica, weights, text: new FakeText(), modelName: "fake", ...keys });
}

Deno.test("the app can be mounted in another one, errors and authentication included", async () => {
  const app = new Hono().get("/", (c) => c.text("front"));
  app.route("/llm", server());
  const ask = (path: string, init: RequestInit = {}) =>
    app.request(path, { headers: { authorization: "Bearer key" }, ...init });
  assertEquals(await (await ask("/", { headers: {} })).text(), "front");
  assertEquals((await (await ask("/llm/health")).json()).status, "ok");
  const refused = await ask("/llm/health", { headers: {} });
  assertEquals([refused.status, (await refused.json()).error.code], [401, "invalid_api_key"]);
  const method = await ask("/llm/v1/completions");
  assertEquals([method.status, (await method.json()).error.code], [405, "method_not_allowed"]);
  const bad = await ask("/llm/v1/completions", {
    method: "POST",
    body: '{"n": 0}',
    headers: { authorization: "Bearer key", "content-type": "application/json" },
  });
  assertEquals([bad.status, (await bad.json()).error.param], [400, "n"]);
  assertEquals((await ask("/llm/admin/weights")).status, 401);
  const weights = await ask("/llm/admin/weights", { headers: { authorization: "Bearer admin" } });
  assertEquals((await weights.json()).current.version, "fake");
});

Deno.test("fingerprints follow the kernels, and the layout on GPUs only", async () => {
  const of = async (replica: FakeReplica) => {
    const app = createServer({ replica, text: null, modelName: "fake" });
    const response = await app.request("/v1/completions", {
      method: "POST",
      body: '{"prompt": [1]}',
      headers: { "content-type": "application/json" },
    });
    return (await response.json()).system_fingerprint;
  };
  const withBackend = (backend: Record<string, string>) => {
    const replica = new FakeReplica();
    Object.assign(replica.info.backend, backend);
    return replica;
  };
  const plain = await of(withBackend({}));
  assertEquals(await of(withBackend({ layout: "2 tensor x 1 pipeline" })), plain);
  assert(await of(withBackend({ kernels: "others" })) !== plain);
  const onGpus = (layout: string) => of(withBackend({ device: "cuda", layout }));
  assert(await onGpus("2 tensor x 1 pipeline") !== await onGpus("1 tensor x 1 pipeline"));
});

Deno.test("importing the server asks for no permission", async () => {
  const entry = new URL("../../../src/serving/mod.ts", import.meta.url);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", "--no-check", entry.href],
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stdout, stderr } = await child.output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assertEquals([code, said], [0, ""]);
});
