import { assert, assertEquals, assertMatch } from "@std/assert";
import { Hono } from "hono";
import type { RequestRecord } from "../../src/serving/mod.ts";
import { testApp, testServer } from "./test_server.ts";

const COMPLETIONS = "/v1/completions";
const BODY = { prompt: "a" };

Deno.test("every answer names its request: as the client does, or by a name of its own", async () => {
  await using server = await testServer({}, { apiKey: "key" });
  const send = async (path: string, headers: Record<string, string>, init: RequestInit = {}) => {
    const response = await fetch(`${server.url}${path}`, { ...init, headers });
    await response.body?.cancel();
    return [response.status, response.headers.get("x-request-id")] as const;
  };
  const authorization = "Bearer key";
  const named = { authorization, "x-request-id": "trace-1:a/b" };
  assertEquals(await send("/health", named), [200, "trace-1:a/b"]);
  assertEquals(await send("/nowhere", named), [404, "trace-1:a/b"]);
  assertEquals(await send(COMPLETIONS, named), [405, "trace-1:a/b"]);
  assertEquals(await send("/health", { "x-request-id": "mine" }), [401, "mine"]);
  for (const odd of ["", "two words", "é", "x".repeat(129), '"']) {
    const [status, id] = await send("/health", { authorization, "x-request-id": odd });
    assertEquals(status, 200);
    assertMatch(id!, /^[0-9a-f]{32}$/);
  }
  const init = { method: "POST", body: JSON.stringify({ ...BODY, stream: true }) };
  const json = { ...named, "content-type": "application/json" };
  assertEquals(await send(COMPLETIONS, json, init), [200, "trace-1:a/b"]);
  assertEquals(await send(COMPLETIONS, named, init), [415, "trace-1:a/b"]);
});

Deno.test("the name of an answer holds that of its request, mounted in another app too", async () => {
  const { app, post } = testApp();
  const answer = await post(COMPLETIONS, BODY, { "x-request-id": "r-1" });
  assertEquals((await answer.json()).id, "cmpl-r-1");
  const outer = new Hono().route("/llm", app);
  const response = await outer.request(`/llm/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-request-id": "r-2" },
    body: JSON.stringify({ messages: [{ role: "user", content: "q" }] }),
  });
  assertEquals(response.headers.get("x-request-id"), "r-2");
  assertEquals((await response.json()).id, "chatcmpl-r-2");
});

Deno.test("who watches is told of each answer at its end, and of errors with their request", async () => {
  const records: RequestRecord[] = [];
  const errors: unknown[] = [];
  const error = new Error("broken");
  const { post, app } = testApp({ breaksAfter: [2, error] }, {
    onRequest: (record) => records.push(record),
    onError: (error, requestId) => errors.push([error, requestId]),
  });
  await (await app.request("/health?x=1", { headers: { "x-request-id": "h" } })).body?.cancel();
  await (await post(COMPLETIONS, BODY, { "x-request-id": "w" })).text();
  const stream = await post(COMPLETIONS, { ...BODY, stream: true }, { "x-request-id": "s" });
  assertEquals(records.map(({ requestId }) => requestId), ["h", "w"], "a stream that runs");
  await stream.text();
  assertEquals(
    records.map(({ requestId, method, path, status }) => [requestId, method, path, status]),
    [["h", "GET", "/health", 200], ["w", "POST", COMPLETIONS, 500], [
      "s",
      "POST",
      COMPLETIONS,
      200,
    ]],
  );
  assert(records.every(({ seconds }) => seconds >= 0 && seconds < 60));
  assertEquals(errors, [[error, "w"], [error, "s"]]);
});
