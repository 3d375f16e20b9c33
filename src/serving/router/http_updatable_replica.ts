/**
 * The weights of a weft server at an address.
 * @module
 */
import { z } from "zod";
import { messageOf, UpdateError } from "../../routing/updates/errors.ts";
import type {
  ReplicaWeights,
  ReplicaWeightsStatus,
  UpdatableReplica,
  UpdateSource,
} from "../../routing/updates/updatable_replica.ts";
import type { HttpReplica } from "./http_replica.ts";

/** Options of {@linkcode HttpUpdatableReplica}. */
export interface HttpUpdatableReplicaOptions {
  /** Time that the replica has to say what it has, in milliseconds. Default 10000. */
  readonly statusMs?: number;
}

/** Times in a row that a replica at work may fail to say what it has. */
const SILENCES = 2;

const weightsSchema = z.object({ version: z.string(), model: z.string() });

const statusSchema = z.object({
  current: weightsSchema,
  prepared: weightsSchema.nullable(),
  previous: weightsSchema.nullable(),
});

const checkedSchema = z.object({ outputs: z.array(z.array(z.number())) });

const errorSchema = z.object({ error: z.object({ message: z.string() }) });

/**
 * A weft server under an update, by its routes below `/admin`. Weights may take as long to load, requests to end and
 * prompts to be answered as they do, while it says what it has: a process that was stopped keeps its connections,
 * and requests may be held until it answers.
 */
export class HttpUpdatableReplica implements UpdatableReplica {
  /** See {@linkcode UpdatableReplica.id}. */
  readonly id: string;
  readonly #replica: HttpReplica;
  readonly #statusMs: number;

  /** Asks `replica`, with the key that requests bring it. */
  constructor(id: string, replica: HttpReplica, options: HttpUpdatableReplicaOptions = {}) {
    this.id = id;
    this.#replica = replica;
    this.#statusMs = options.statusMs ?? 10_000;
  }

  /** See {@linkcode UpdatableReplica.weights}. Throws UpdateError (refused) when it is no weft server. */
  async weights(): Promise<ReplicaWeightsStatus> {
    const response = await this.#status(AbortSignal.timeout(this.#statusMs));
    const text = await response.text();
    const status = statusSchema.safeParse(parsed(text));
    if (response.ok && status.success) return status.data;
    const found = response.ok ? "something else" : `${response.status}: ${sayingOf(text)}`;
    const message = response.status === 401 || response.status === 403
      ? `Cannot update ${this.id} as it asks for another key: ${found}`
      : response.status >= 500
      ? `Cannot update ${this.id} as it says ${found}`
      : `Cannot update ${this.id} as it is no weft server with weights that can change: ` +
        `GET /admin/weights is answered with ${found}`;
    throw new UpdateError(message, { reason: "refused", replica: this.id });
  }

  /** See {@linkcode UpdatableReplica.pause}. */
  async pause(mode: "finish" | "abort" | "hold"): Promise<void> {
    await this.#change("/admin/pause", { mode });
  }

  /** See {@linkcode UpdatableReplica.resume}. */
  async resume(): Promise<void> {
    await this.#change("/admin/resume", {});
  }

  /** See {@linkcode UpdatableReplica.prepare}. */
  async prepare(source: UpdateSource): Promise<ReplicaWeights> {
    const { prepared } = await this.#change("/admin/weights/prepare", source);
    if (prepared === null) throw this.#failure("prepared nothing");
    return prepared;
  }

  /** See {@linkcode UpdatableReplica.activate}. */
  async activate(): Promise<ReplicaWeights> {
    return (await this.#change("/admin/weights/activate", {})).current;
  }

  /** See {@linkcode UpdatableReplica.revert}. */
  async revert(): Promise<ReplicaWeights> {
    return (await this.#change("/admin/weights/revert", {})).current;
  }

  /** See {@linkcode UpdatableReplica.release}. */
  async release(): Promise<void> {
    await this.#change("/admin/weights/release", {});
  }

  /** See {@linkcode UpdatableReplica.update}. */
  async update(source: UpdateSource): Promise<ReplicaWeights> {
    return (await this.#change("/admin/weights/update", source)).current;
  }

  /** See {@linkcode UpdatableReplica.check}. */
  async check(
    set: "current" | "prepared",
    prompts: readonly (readonly number[])[],
    maxTokens: number,
  ): Promise<readonly (readonly number[])[]> {
    const body = { set, prompts, max_tokens: maxTokens };
    return checkedSchema.parse(await this.#post("/admin/weights/check", body)).outputs;
  }

  async #change(path: string, body: object): Promise<ReplicaWeightsStatus> {
    return statusSchema.parse(await this.#post(path, body));
  }

  async #post(path: string, body: object): Promise<unknown> {
    const end = new AbortController();
    const watch = this.#watch(end);
    try {
      const response = await this.#replica.post(path, body, end.signal);
      const text = await this.#read(response, end.signal);
      if (!response.ok) throw this.#failure(sayingOf(text));
      return parsed(text);
    } finally {
      clearInterval(watch);
      end.abort();
    }
  }

  /** Ends what the replica is asked for when it does not say what it has any more. */
  #watch(end: AbortController): ReturnType<typeof setInterval> {
    let silences = 0;
    return setInterval(async () => {
      try {
        const late = AbortSignal.timeout(this.#statusMs);
        const response = await this.#status(AbortSignal.any([end.signal, late]));
        await response.body?.cancel();
        silences = 0;
      } catch {
        if (++silences < SILENCES) return;
        end.abort(this.#failure(`it has said nothing for ${SILENCES * this.#statusMs / 1000} s`));
      }
    }, this.#statusMs);
  }

  #status(signal: AbortSignal): Promise<Response> {
    return this.#replica.get("/admin/weights", signal);
  }

  async #read(response: Response, signal: AbortSignal): Promise<string> {
    try {
      return await response.text();
    } catch (error) {
      signal.throwIfAborted();
      throw this.#failure(`its connection was lost: ${messageOf(error)}`);
    }
  }

  #failure(reason: string): UpdateError {
    return new UpdateError(`Cannot update ${this.id}: ${reason}`, {
      reason: "failed",
      replica: this.id,
    });
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The message of an error answer, or how it begins. */
function sayingOf(text: string): string {
  const error = errorSchema.safeParse(parsed(text));
  return error.success ? error.data.error.message : text.slice(0, 200);
}
