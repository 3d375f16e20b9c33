/**
 * One request on one set of weights.
 * @module
 */
import type { SetLease } from "./admission.ts";
import type { EngineClient } from "./engine_client.ts";
import { OutputStream } from "./output_stream.ts";
import type { SchedulerOutput, SchedulerRequest } from "./scheduler/scheduler.ts";

/**
 * Runs on an engine thread from the moment it is made. Its lease ends with the last output that the engine
 * sends, whenever that is taken: who reads slowly does not keep a set of weights in use.
 */
export class ModelRequest implements Disposable {
  readonly #client: EngineClient;
  readonly #lease: SetLease<unknown>;
  readonly #outputs = new OutputStream<SchedulerOutput | null>();
  readonly #id: number;
  #ended = false;

  /** Sends the request; throws EngineDeadError when the engine has stopped. */
  constructor(
    client: EngineClient,
    { request, lease }: {
      readonly request: Omit<SchedulerRequest, "id">;
      readonly lease: SetLease<unknown>;
    },
  ) {
    this.#client = client;
    this.#lease = lease;
    this.#id = client.add(request, {
      push: (output) => this.#push(output),
      fail: (error) => {
        this.#outputs.fail(error);
        this.#end();
      },
    });
    lease.onStop((stop) => {
      client.abort(this.#id);
      if (stop === "move") this.#outputs.push(null);
      else this.#push({ id: this.#id, tokenIds: [], finishReason: "abort", stopReason: null });
    });
  }

  /** The next output; null when the request has to start again on other weights. Throws what became of the engine. */
  async next(): Promise<SchedulerOutput | null> {
    const output = await this.#outputs.next();
    return this.#lease.begin() ? output : null;
  }

  #push(output: SchedulerOutput): void {
    this.#outputs.push(output);
    if (output.finishReason !== null) this.#end();
  }

  #end(): void {
    this.#ended = true;
    this.#lease.end();
  }

  /** Ends the request where it still runs. */
  [Symbol.dispose](): void {
    if (!this.#ended) this.#client.abort(this.#id);
    this.#client.release(this.#id);
    this.#end();
  }
}
