/**
 * One request on one set of weights.
 * @module
 */
import type { SetLease } from "./admission.ts";
import type { EngineClient } from "./engine_client.ts";
import type { OutputSink } from "./output_stream.ts";
import { Queue } from "./queue.ts";
import type { SchedulerOutput, SchedulerRequest } from "./scheduler/scheduler.ts";

/**
 * Runs on an engine thread from the moment it is made. Its lease ends with the last output that the engine
 * sends, whenever that is taken: who reads slowly does not keep a set of weights in use.
 */
export class ModelRequest implements OutputSink<SchedulerOutput>, Disposable {
  readonly #client: EngineClient;
  readonly #lease: SetLease<unknown>;
  readonly #onChange: () => void;
  readonly #outputs = new Queue<SchedulerOutput>();
  readonly #id: number;
  #failure: Error | null = null;
  #ended = false;

  /**
   * Sends the request; `onChange` is called when an output has come, the engine has died or the request has
   * to start again on other weights. Throws EngineDeadError when the engine has stopped.
   */
  constructor(
    client: EngineClient,
    { request, lease, onChange }: {
      readonly request: Omit<SchedulerRequest, "id">;
      readonly lease: SetLease<unknown>;
      readonly onChange: () => void;
    },
  ) {
    this.#client = client;
    this.#lease = lease;
    this.#onChange = onChange;
    this.#id = client.add(request, this);
    lease.onStop((stop) => {
      client.abort(this.#id);
      if (stop === "move") this.#onChange();
      else this.push({ id: this.#id, tokenIds: [], finishReason: "abort", stopReason: null });
    });
  }

  /** What became of the engine when there are no more outputs, or null. */
  get failure(): Error | null {
    return this.#failure;
  }

  /** The oldest output that was not taken, from now on given out; null for none, or for one that must not be. */
  take(): SchedulerOutput | null {
    if (this.#outputs.size === 0 || !this.#lease.begin()) return null;
    return this.#outputs.shift()!;
  }

  /** See {@linkcode OutputSink.push}. */
  push(output: SchedulerOutput): void {
    if (this.#failure !== null) return;
    this.#outputs.push(output);
    if (output.finishReason !== null) this.#end();
    this.#onChange();
  }

  /** See {@linkcode OutputSink.fail}. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#end();
    this.#onChange();
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
