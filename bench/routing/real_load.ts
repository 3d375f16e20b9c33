/** Clients with conversations of very different lengths, some of which begin alike. */
import { serverSentEvents } from "../versus/http_clients.ts";
import { randomNumbers } from "./fleet_simulation.ts";

/** A request: token ids, the tokens wanted, and what it belongs to. */
export interface RealRequest {
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly session: string;
}

/** Seconds of one request. */
export interface RealLatency {
  readonly firstToken: number;
  readonly whole: number;
}

const VOCABULARY = 1000;
const GROUPS = 12;
const SHARED_TOKENS = 64;
const MAX_OWN_TOKENS = 96;
const MEAN_OUTPUT_TOKENS = 24;
const MAX_OUTPUT_TOKENS = 160;

/** `count` requests, the same for the same seed: outputs are geometric, so that a few are far longer than most. */
export function drawRequests(count: number, seed: number): RealRequest[] {
  const random = randomNumbers(seed);
  const tokens = (length: number, draw: () => number): number[] =>
    Array.from({ length }, () => 1 + Math.floor(draw() * VOCABULARY));
  return Array.from({ length: count }, () => {
    const group = Math.floor(random() * GROUPS);
    const own = 1 + Math.floor(random() * MAX_OWN_TOKENS);
    const output = 1 + Math.floor(-Math.log(1 - random()) * MEAN_OUTPUT_TOKENS);
    return {
      prompt: [...tokens(SHARED_TOKENS, randomNumbers(1000 + group)), ...tokens(own, random)],
      maxTokens: Math.min(MAX_OUTPUT_TOKENS, output),
      session: `group ${group}`,
    };
  });
}

/** What {@linkcode loadReal} sends. */
export interface RealLoad {
  readonly requests: readonly RealRequest[];
  readonly clients: number;
  /** Requests of the same salt find each other's prompts in the cache, and no others'. */
  readonly salt: string;
}

/** `clients` send the requests in their order, each its next one when the last was answered. */
export async function loadReal(
  port: number,
  { requests, clients, salt }: RealLoad,
): Promise<{ readonly latencies: readonly RealLatency[]; readonly seconds: number }> {
  const latencies: RealLatency[] = [];
  const start = performance.now();
  let next = 0;
  await Promise.all(Array.from({ length: clients }, async () => {
    while (next < requests.length) latencies.push(await complete(port, requests[next++], salt));
  }));
  return { latencies, seconds: (performance.now() - start) / 1000 };
}

async function complete(
  port: number,
  { prompt, maxTokens, session }: RealRequest,
  salt: string,
): Promise<RealLatency> {
  const start = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-session-id": session },
    body: JSON.stringify({
      prompt,
      max_tokens: maxTokens,
      temperature: 0,
      ignore_eos: true,
      stream: true,
      cache_salt: salt,
    }),
  });
  if (!response.ok) throw new Error(`Cannot measure: ${response.status} ${await response.text()}`);
  let firstToken: number | null = null;
  let last = "";
  for await (const event of serverSentEvents(response.body!)) {
    firstToken ??= (performance.now() - start) / 1000;
    last = event;
  }
  if (firstToken === null || last !== "[DONE]") throw new Error(`Cannot measure: ${last}`);
  return { firstToken, whole: (performance.now() - start) / 1000 };
}
