import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { listen, RequestGate } from "../../../src/serving/mod.ts";

const answer = () => new Response("ok");

Deno.test("a listener binds loopback and a free port, and stops", async () => {
  const server = await listen({ fetch: answer, gate: new RequestGate(), port: 0 });
  assertMatch(server.url, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
  assertEquals(await (await fetch(server.url)).text(), "ok");
  assertEquals(server.shutdown(100), server.shutdown(0), "one shutdown");
  await server.shutdown(0);
  await server.finished;
  await assertRejects(() => fetch(server.url), TypeError);
});

Deno.test("an IPv6 address is bracketed", async () => {
  await using server = await listen({
    fetch: answer,
    gate: new RequestGate(),
    host: "::1",
    port: 0,
  });
  assertEquals(server.url, `http://[::1]:${server.port}`);
});

Deno.test("a connection that sends no headers, or half of them, is closed", async () => {
  const gate = new RequestGate();
  await using server = await listen({ fetch: answer, gate, port: 0, headersTimeoutMs: 200 });
  for (const text of ["", "GET / HTTP/1.1\r\nhost: a\r\n"]) {
    using connection = await Deno.connect({ port: server.port });
    await connection.write(new TextEncoder().encode(text));
    const answered = await new Response(connection.readable).text();
    assertEquals(answered.includes("ok"), false);
  }
});

Deno.test("a connection whose body does not come, or that asks for nothing more, is closed", async () => {
  const read = async (request: Request) => new Response(`ok ${await request.text()}`);
  await using server = await listen({
    fetch: read,
    gate: new RequestGate(),
    port: 0,
    requestTimeoutMs: 200,
    headersTimeoutMs: 200,
    idleTimeoutMs: 200,
  });
  const speak = async (text: string): Promise<string> => {
    using connection = await Deno.connect({ port: server.port });
    await connection.write(new TextEncoder().encode(text));
    return await new Response(connection.readable).text();
  };
  const half = await speak("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
  assertMatch(half, /^(HTTP\/1\.1 408|$)/);
  const whole = await speak("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nfull");
  assertMatch(whole, /ok full/);
});
