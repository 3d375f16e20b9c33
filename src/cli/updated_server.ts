/**
 * The admin routes of a server whose weights change, as a client sees them.
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { readLines } from "../serving/fleet/read_lines.ts";
import { whyUnreachable } from "../serving/why_unreachable.ts";

/** Something that happened in an update. */
export interface FollowedEvent {
  /** Counts from 0. */
  readonly index: number;
  /** At which replica; null for all or none. */
  readonly replica: string | null;
  /** One sentence. */
  readonly message: string;
}

/** How often a lost connection is tried again, in milliseconds, and for how long after the last word. */
const RECONNECT_MS = 500;
const GIVE_UP_MS = 30_000;

/** What a line with an event begins with. */
const DATA = "data: ";

/** A server that updates its weights, or those of its replicas. */
export class UpdatedServer {
  readonly #url: string;
  readonly #headers: Record<string, string>;

  /** The server at `url`, which may ask for a key. */
  constructor(url: string, key: string | undefined) {
    this.#url = url.replace(/\/+$/, "");
    this.#headers = {
      "content-type": "application/json",
      ...key === undefined ? {} : { authorization: `Bearer ${key}` },
    };
  }

  /**
   * Calls `onEvent` for what happens, once each, until the update has ended. A connection that is lost is made
   * again: proxies end those on which nothing is said for long. Throws Error when the server stays away.
   */
  async follow(id: string, onEvent: (event: FollowedEvent) => void): Promise<void> {
    let next = 0;
    let reached = performance.now();
    while (true) {
      let failure: unknown = new Error("it ended");
      try {
        const stream = await this.#events(id);
        const ended = await readEvents(stream, (event) => {
          if (event.index < next) return;
          next = event.index + 1;
          onEvent(event);
        });
        if (ended) return;
        reached = performance.now();
      } catch (error) {
        if (error instanceof RefusedError) throw error;
        failure = error;
      }
      if (performance.now() - reached > GIVE_UP_MS) {
        throw new Error(
          `Cannot follow the update as the connection was lost (${whyUnreachable(failure)}); ` +
            `it may go on: GET ${this.#url}/admin/updates/${id}`,
          { cause: failure },
        );
      }
      await delay(RECONNECT_MS);
    }
  }

  /** The answer as JSON; throws Error with what the server says when that is no success. */
  async call<T>(method: string, path: string, body?: object): Promise<T> {
    const response = await this.#fetch(method, path, body);
    const answer = await response.json().catch(() => null);
    if (response.ok && answer !== null) return answer;
    throw this.#refusal(path, response.status, answer);
  }

  async #events(id: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const path = `/admin/updates/${id}/events`;
    const response = await this.#fetch("GET", path);
    if (response.ok) return response.body!;
    throw this.#refusal(path, response.status, await response.json().catch(() => null));
  }

  #refusal(path: string, status: number, answer: ApiRefusal | null): RefusedError {
    return new RefusedError(
      answer?.error?.message ??
        `Cannot update ${this.#url} as it is no weft that can: ${path} is answered with ${status}`,
    );
  }

  async #fetch(method: string, path: string, body?: object): Promise<Response> {
    try {
      return await fetch(this.#url + path, {
        method,
        headers: this.#headers,
        body: body && JSON.stringify(body),
      });
    } catch (error) {
      throw new Error(`Cannot reach ${this.#url}: ${whyUnreachable(error)}`, { cause: error });
    }
  }
}

/** What a server says when it refuses. */
interface ApiRefusal {
  readonly error?: { readonly message?: string };
}

/** The server has answered that it will not. */
class RefusedError extends Error {}

/** Whether the update's end came before that of the stream. A connection that breaks is like one that ends. */
async function readEvents(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onEvent: (event: FollowedEvent) => void,
): Promise<boolean> {
  let ended = false;
  const reading = readLines(stream, (line) => {
    if (!line.startsWith(DATA)) return;
    const data = line.slice(DATA.length);
    if (data === "[DONE]") ended = true;
    else onEvent(JSON.parse(data));
  });
  await reading.catch(() => {});
  return ended;
}
