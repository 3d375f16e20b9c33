/**
 * A server over a fake replica, and what tests say to it.
 * @module
 */
import type { Replica } from "../../src/engine/types.ts";
import { createServer, listen, RequestGate, type ServerOptions } from "../../src/serving/mod.ts";
import { FakeReplica, type FakeScript, FakeText } from "./fake_replica.ts";

/** JSON as tests look into it. */
// deno-lint-ignore no-explicit-any
export type Json = any;

/** An app with its parts. */
export interface TestApp {
  readonly app: ReturnType<typeof createServer>;
  readonly replica: FakeReplica;
  readonly text: FakeText;
  readonly gate: RequestGate;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  json(path: string, body: unknown): Promise<Json>;
}

/** An app over one fake replica (or `options.replica`). */
export function testApp(script: FakeScript = {}, options: Partial<ServerOptions> = {}): TestApp {
  const replica = new FakeReplica(script);
  const text = new FakeText();
  const gate = options.gate ?? new RequestGate();
  const app = createServer({ replica, text, modelName: "fake", ...options, gate });
  const post: TestApp["post"] = async (path, body, headers = {}) =>
    await app.request(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  return {
    app,
    replica,
    text,
    gate,
    post,
    json: async (path, body) => await (await post(path, body)).json(),
  };
}

/** A listening server over one fake replica (or `options.replica`). */
export async function testServer(
  script: FakeScript = {},
  options: Partial<ServerOptions> & { readonly replica?: Replica } = {},
): Promise<
  TestApp & { readonly url: string; shutdown(graceMs: number): Promise<void> } & AsyncDisposable
> {
  const parts = testApp(script, options);
  const listener = await listen({ fetch: parts.app.fetch, gate: parts.gate, port: 0 });
  return {
    ...parts,
    url: listener.url,
    shutdown: (graceMs) => listener.shutdown(graceMs),
    [Symbol.asyncDispose]: () => listener.shutdown(0),
  };
}

/** POSTs JSON over a socket. */
export async function postJson(
  url: string,
  body: unknown,
  init: RequestInit = {},
): Promise<Response> {
  return await fetch(url, {
    method: "POST",
    body: JSON.stringify(body),
    ...init,
    headers: { "content-type": "application/json", ...init.headers as Record<string, string> },
  });
}

/** The `data:` lines of a stream of events; every line must be one or blank. */
export function eventsOf(body: string): string[] {
  return body.split("\n\n").filter((part) => part !== "").map((part) => {
    if (!part.startsWith("data: ")) throw new Error(`Cannot read the event: ${part}`);
    return part.slice("data: ".length);
  });
}

/** Waits until `condition` holds; fails after five seconds. */
export async function eventually(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error("The condition did not come true in time");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
