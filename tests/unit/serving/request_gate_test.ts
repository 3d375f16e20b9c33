import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ApiError } from "../../../src/serving/api_error.ts";
import { RequestGate } from "../../../src/serving/request_gate.ts";

Deno.test("the gate counts, and refuses beyond its limit", () => {
  const gate = new RequestGate({ maxQueuedRequests: 2 });
  const first = gate.enter();
  gate.enter();
  assertEquals(gate.active, 2);
  assertEquals(assertThrows(() => gate.enter(), ApiError).status, 429);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assertEquals(gate.active, 1, "a place is given back once");
  gate.enter();
  assertThrows(() => new RequestGate({ maxQueuedRequests: 0 }), RangeError);
});

Deno.test("closing waits for the last one and lets nobody in", async () => {
  const gate = new RequestGate();
  const places = [gate.enter(), gate.enter()];
  let closed = false;
  const closing = gate.close().then(() => closed = true);
  assert(gate.draining);
  assertEquals(assertThrows(() => gate.enter(), ApiError).status, 503);
  places[0][Symbol.dispose]();
  await Promise.resolve();
  assert(!closed);
  places[1][Symbol.dispose]();
  await closing;
  await gate.close();
  await new RequestGate().close();
});

Deno.test("cancelling tells those inside", async () => {
  const gate = new RequestGate();
  const told = new Promise((_, reject) =>
    gate.signal.addEventListener("abort", () => reject(new Error("told")))
  );
  gate.cancelAll();
  await assertRejects(() => told, Error, "told");
});
