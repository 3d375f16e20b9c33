/** A router over scripted servers. */
import { RequestGate } from "../../src/serving/request_gate.ts";
import { listenRouter } from "../../src/serving/router/listen_router.ts";
import { RouterServer, type RouterServerOptions } from "../../src/serving/router/router_server.ts";
import { FakeUpstream, type UpstreamBehaviour } from "./fake_upstream.ts";

/** A router that listens, over servers that answer as they are told. */
export interface RouterFixture extends AsyncDisposable {
  readonly url: string;
  readonly router: RouterServer;
  readonly upstreams: readonly FakeUpstream[];
  readonly shutdown: (graceMs: number) => Promise<void>;
  /** Sends a completion. */
  post(body?: object, init?: RequestInit): Promise<Response>;
}

/** Starts a router over one server for each behaviour; probes are as good as off. */
export async function routerOver(
  behaviours: readonly UpstreamBehaviour[],
  options: RouterServerOptions & { readonly maxConcurrency?: number } = {},
): Promise<RouterFixture> {
  const gate = new RequestGate();
  const upstreams = behaviours.map((behaviour, i) => new FakeUpstream(`r${i}`, behaviour));
  const router = new RouterServer({
    gate,
    slowStartMs: 0,
    probeMs: 60_000,
    onError: (error) => console.error(error),
    ...options,
  });
  const listener = listenRouter({ router, gate, port: 0 });
  const { maxConcurrency } = options;
  for (const upstream of upstreams) await router.join(upstream.url, { maxConcurrency });
  const { url } = listener;
  return {
    url,
    router,
    upstreams,
    shutdown: (graceMs) => listener.shutdown(graceMs),
    post: (body = {}, init = {}) =>
      fetch(`${url}/v1/completions`, {
        method: "POST",
        body: JSON.stringify({ prompt: [1, 2], ...body }),
        ...init,
        headers: {
          "content-type": "application/json",
          ...Object.fromEntries(new Headers(init.headers)),
        },
      }),
    async [Symbol.asyncDispose]() {
      await listener[Symbol.asyncDispose]();
      router[Symbol.dispose]();
      for (const upstream of upstreams) await upstream[Symbol.asyncDispose]();
    },
  };
}

/** Data of the events in a stream's text. */
export const eventsOf = (text: string): string[] =>
  text.split("\n\n").map((line) => line.trim().replace(/^data: /, "")).filter((line) =>
    line !== ""
  );

/** The events of a whole stream of the server called `name`. */
export const complete = (name: string): string[] => [
  ...[0, 1, 2, 3, 4].map((i) => `{"text":"${name} ${i}"}`),
  "[DONE]",
];
