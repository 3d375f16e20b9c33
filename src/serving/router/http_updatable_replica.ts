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

/** Time that a replica has to say what it has, in milliseconds. */
const STATUS_MS = 10_000;

/** Time that weights have to load, requests to end, and prompts to be answered, in milliseconds. */
const WORK_MS = 3_600_000;

const weightsSchema = z.object({ version: z.string(), model: z.string() });

const statusSchema = z.object({
  current: weightsSchema,
  prepared: weightsSchema.nullable(),
  previous: weightsSchema.nullable(),
});

const checkedSchema = z.object({ outputs: z.array(z.array(z.number())) });

const errorSchema = z.object({ error: z.object({ message: z.string() }) });

/** A weft server under an update, by its routes below `/admin`. */
export class HttpUpdatableReplica implements UpdatableReplica {
  /** See {@linkcode UpdatableReplica.id}. */
  readonly id: string;
  readonly #replica: HttpReplica;

  /** Asks `replica`, with the key that requests bring it. */
  constructor(id: string, replica: HttpReplica) {
    this.id = id;
    this.#replica = replica;
  }

  /** See {@linkcode UpdatableReplica.weights}. Throws UpdateError (refused) when it is no weft server. */
  async weights(): Promise<ReplicaWeightsStatus> {
    const response = await this.#send("GET", "/admin/weights", { timeoutMs: STATUS_MS });
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
    const response = await this.#send("POST", path, { body, timeoutMs: WORK_MS });
    const text = await this.#read(response);
    if (!response.ok) throw this.#failure(sayingOf(text));
    return parsed(text);
  }

  async #send(
    method: string,
    path: string,
    { body, timeoutMs }: { readonly body?: object; readonly timeoutMs: number },
  ): Promise<Response> {
    const headers = new Headers(body === undefined ? {} : { "content-type": "application/json" });
    const bytes = body === undefined ? null : new TextEncoder().encode(JSON.stringify(body));
    const signal = AbortSignal.timeout(timeoutMs);
    return await this.#replica.send({ method, path, headers, body: bytes, signal });
  }

  async #read(response: Response): Promise<string> {
    try {
      return await response.text();
    } catch (error) {
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
