import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { listen, RequestGate } from "../../../src/serving/mod.ts";

const answer = () => new Response("ok");

Deno.test("a listener binds loopback and a free port, and stops", async () => {
  const server = listen({ fetch: answer, gate: new RequestGate(), port: 0 });
  assertMatch(server.url, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
  assertEquals(await (await fetch(server.url)).text(), "ok");
  assertEquals(server.shutdown(100), server.shutdown(0), "one shutdown");
  await server.shutdown(0);
  await server.finished;
  await assertRejects(() => fetch(server.url), TypeError);
});

Deno.test("an IPv6 address is bracketed", async () => {
  await using server = listen({ fetch: answer, gate: new RequestGate(), host: "::1", port: 0 });
  assertEquals(server.url, `http://[::1]:${server.port}`);
});
