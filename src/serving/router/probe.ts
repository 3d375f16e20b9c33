/**
 * What a replica is asked to show that it works.
 * @module
 */
import type { HttpReplica } from "./http_replica.ts";

/**
 * Lets a replica generate one token: a server may answer `/health` for long after its engine has stopped.
 * Resolves when it has; rejects with what it says, or the signal's reason.
 */
export async function probeReplica(replica: HttpReplica, signal: AbortSignal): Promise<void> {
  const models = await ask(replica, "/v1/models", null, signal) as { data?: { id?: unknown }[] };
  const model = models.data?.[0]?.id;
  await ask(replica, "/v1/completions", { model, prompt: [1], max_tokens: 1 }, signal);
}

/**
 * Lets a weft say that its engine lives. It is asked for no token: that would wait behind requests, of which some
 * take minutes. Rejects like {@linkcode probeReplica}.
 */
export async function probeEngine(replica: HttpReplica, signal: AbortSignal): Promise<void> {
  await ask(replica, "/health", null, signal);
}

/**
 * Lets a server of any kind say that it lives: by `/health`, which one that has no such route refuses. It is asked
 * for no token either. Rejects like {@linkcode probeReplica}.
 */
export async function probeServer(replica: HttpReplica, signal: AbortSignal): Promise<void> {
  const response = await replica.get("/health", signal);
  const text = await response.text();
  if (response.status < 500) return;
  throw new Error(`answering a probe with ${response.status}: ${text.slice(0, 200)}`);
}

async function ask(
  replica: HttpReplica,
  path: string,
  body: object | null,
  signal: AbortSignal,
): Promise<unknown> {
  const response =
    await (body === null ? replica.get(path, signal) : replica.post(path, body, signal));
  const text = await response.text();
  if (!response.ok) {
    throw new Error(`answering a probe of ${path} with ${response.status}: ${text.slice(0, 200)}`);
  }
  return JSON.parse(text);
}
