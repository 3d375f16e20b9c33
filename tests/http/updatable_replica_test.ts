/** What an update sees of a server at an address. */
import { assertEquals, assertRejects } from "@std/assert";
import { UpdateError } from "../../src/routing/updates/errors.ts";
import { HttpReplica } from "../../src/serving/router/http_replica.ts";
import { HttpUpdatableReplica } from "../../src/serving/router/http_updatable_replica.ts";

const STATUS = {
  current: { version: "v1", model: "/models/one" },
  prepared: null,
  previous: null,
};

/** A server whose verbs take until `go` resolves, and that says what it has while `alive`. */
function slowServer(): {
  server: Deno.HttpServer<Deno.NetAddr>;
  state: { alive: boolean };
  go(): void;
} {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stuck = new Promise<never>(() => {});
  const state = { alive: true };
  const server = Deno.serve({ port: 0, onListen: () => {} }, async (request) => {
    if (request.method === "POST") await promise;
    else if (!state.alive) await Promise.race([stuck, promise]);
    return Response.json(STATUS);
  });
  return { server, state, go: resolve };
}

function replicaAt(server: Deno.HttpServer<Deno.NetAddr>): HttpUpdatableReplica {
  const replica = new HttpReplica(`http://127.0.0.1:${server.addr.port}`);
  return new HttpUpdatableReplica("r0", replica, { statusMs: 30 });
}

Deno.test("a replica that loads for long is waited for while it says what it has", async () => {
  const { server, go } = slowServer();
  await using _server = server;
  const updated = replicaAt(server).update({ model: "/models/new" });
  setTimeout(go, 150);
  assertEquals(await updated, STATUS.current);
});

Deno.test("a replica that has stopped keeps no update waiting", async () => {
  const { server, state, go } = slowServer();
  await using _server = server;
  const replica = replicaAt(server);
  state.alive = false;
  await assertRejects(
    () => replica.update({ model: "/models/new" }),
    UpdateError,
    "Cannot update r0: it has said nothing for 0.06 s",
  );
  await assertRejects(() => replica.resume(), UpdateError, "Cannot update r0: it has said nothing");
  go();
});
