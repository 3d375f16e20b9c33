/**
 * Talks to an engine's scheduling thread.
 * @module
 */
import type { HostChannelHandle } from "../distributed/host_channel_layout.ts";
import type { RankGroup } from "../distributed/launcher.ts";
import { createWasmMemory } from "../native/wasm_library.ts";
import type { EngineConfig } from "./engine_config.ts";
import type { EngineCommand, EngineEvent } from "./engine_protocol.ts";
import { launchEngineRanks } from "./engine_ranks.ts";
import { unpackOutputs } from "./output_batch.ts";
import type { OutputSink } from "./output_stream.ts";
import type { SchedulerOutput, SchedulerRequest } from "./scheduler/scheduler.ts";
import { SharedStats } from "./shared_stats.ts";
import { EngineDeadError, type EngineStats, UnsupportedRequestError } from "./types.ts";

/**
 * How long ranks have to finish the plans under way when the engine stops, in milliseconds. With the
 * launcher's grace period after it, and the drain before it, `serve` stays below the 30 s of Kubernetes.
 */
const STOP_TIMEOUT_MS = 1500;

/** What a started engine says of itself. */
type EngineReady = Extract<EngineEvent, { type: "ready" }>;

/**
 * An engine as seen from its user's thread: starts the engine thread and the ranks, sends requests, and
 * hands every output to the stream of its request. When the engine dies every stream fails and later
 * requests are refused.
 */
export class EngineClient implements AsyncDisposable {
  readonly #config: EngineConfig;
  readonly #worker: Worker;
  readonly #wasmMemory: WebAssembly.Memory | undefined;
  readonly #streams = new Map<number, OutputSink<SchedulerOutput>>();
  readonly #stats = new SharedStats();
  readonly #onLoading: (fraction: number) => void;
  readonly #ready = Promise.withResolvers<EngineReady>();
  readonly #died = Promise.withResolvers<string>();
  readonly #stopped = Promise.withResolvers<void>();
  #ranks: RankGroup<void> | null = null;
  #failure: string | null = null;
  #nextId = 0;
  #nextHold = 0;
  #held: { readonly hold: number; readonly still: PromiseWithResolvers<void> } | null = null;

  private constructor(config: EngineConfig, onLoading: (fraction: number) => void) {
    this.#config = config;
    this.#onLoading = onLoading;
    this.#worker = new Worker(new URL("./engine_worker.ts", import.meta.url), {
      type: "module",
      name: "weft engine",
    });
    this.#worker.onmessage = (event: MessageEvent<EngineEvent>) => this.#receive(event.data);
    this.#worker.onerror = (event) => {
      event.preventDefault(); // an error of this engine must not end the process
      this.#die(event.message);
      this.#ranks?.abort(event.message);
      this.#stopped.resolve();
    };
    this.#wasmMemory = config.wasm ? createWasmMemory() : undefined;
    this.#send({
      type: "start",
      config,
      stats: this.#stats.memory,
      wasmMemory: this.#wasmMemory,
    });
  }

  /** Starts an engine; rejects with the reason when its ranks cannot start, or `signal` fires before they have. */
  static async start(
    config: EngineConfig,
    { onLoading, signal }: {
      readonly onLoading: (fraction: number) => void;
      readonly signal?: AbortSignal;
    },
  ): Promise<{ client: EngineClient; ready: EngineReady }> {
    const client = new EngineClient(config, onLoading);
    const cancel = () => client.#die("it was stopped while it started");
    signal?.addEventListener("abort", cancel, { once: true });
    if (signal?.aborted) cancel();
    try {
      return { client, ready: await client.#ready.promise };
    } catch (error) {
      await client[Symbol.asyncDispose]();
      throw error;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** Why the engine has died, or null. */
  get failure(): string | null {
    return this.#failure;
  }

  /** Resolves with the reason when the engine has died or was stopped. */
  get died(): Promise<string> {
    return this.#died.promise;
  }

  /** Process ids of the ranks (launcher `process`). */
  get pids(): readonly number[] {
    return this.#ranks?.pids ?? [];
  }

  /** Latest counters; zeros before the engine is ready. */
  get stats(): EngineStats {
    return this.#stats.read();
  }

  /** Sends a request whose outputs go to `outputs`; returns its number. */
  add(
    request: Omit<SchedulerRequest, "id">,
    outputs: OutputSink<SchedulerOutput>,
  ): number {
    if (this.#failure !== null) throw deadError(this.#failure);
    const id = this.#nextId++;
    this.#streams.set(id, outputs);
    this.#send({ type: "add", request: { ...request, id } });
    return id;
  }

  /** Forgets a request; `abort` it first if it may still run. */
  release(id: number): void {
    this.#streams.delete(id);
  }

  /** Ends a request from the next step on. */
  abort(id: number): void {
    if (this.#failure === null) this.#send({ type: "abort", id });
  }

  /** Plans no more steps until {@linkcode go}; resolves when none is under way, or the engine goes on or dies. */
  hold(): Promise<void> {
    if (this.#failure !== null) return Promise.resolve();
    if (this.#held === null) {
      this.#held = { hold: this.#nextHold++, still: Promise.withResolvers() };
      this.#send({ type: "hold", hold: this.#held.hold });
    }
    return this.#held.still.promise;
  }

  /** Plans steps again, where the engine was held. */
  go(): void {
    if (this.#held === null || this.#failure !== null) return;
    this.#held.still.resolve();
    this.#held = null;
    this.#send({ type: "go" });
  }

  #send(command: EngineCommand): void {
    this.#worker.postMessage(command);
  }

  readonly #deliver = (output: SchedulerOutput): void => {
    this.#streams.get(output.id as number)?.push(output);
  };

  #receive(event: EngineEvent): void {
    switch (event.type) {
      case "channel":
        return this.#launch(event.handle);
      case "loading":
        return this.#onLoading(event.fraction);
      case "ready":
        return this.#ready.resolve(event);
      case "outputs":
        return unpackOutputs(event.batch, this.#deliver);
      case "rejected": {
        const error = new UnsupportedRequestError(event.message, event.param);
        return this.#streams.get(event.id as number)?.fail(error);
      }
      case "held":
        if (event.hold === this.#held?.hold) this.#held.still.resolve();
        return;
      case "dead":
        this.#die(event.reason);
        // The others might wait for a rank that has failed until their deadline, and keep their GPUs.
        return this.#ranks?.abort(event.reason);
      case "stopped":
        return this.#stopped.resolve();
    }
  }

  #launch(channel: HostChannelHandle): void {
    if (this.#failure !== null) return;
    try {
      this.#ranks = launchEngineRanks(this.#config, channel, this.#wasmMemory);
      this.#ranks.failed.then(({ rank, reason }) => this.#die(`rank ${rank} failed: ${reason}`));
    } catch (error) {
      this.#die(error instanceof Error ? error.message : String(error));
    }
  }

  #die(reason: string): void {
    if (this.#failure !== null) return;
    this.#failure = reason;
    this.#ready.reject(new Error(reason));
    this.#died.resolve(reason);
    this.#held?.still.resolve();
    for (const stream of this.#streams.values()) stream.fail(deadError(reason));
  }

  /** Stops the ranks and the engine thread; requests that still run fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#die("the engine was stopped");
    this.#send({ type: "stop" });
    await this.#stopped.promise;
    await this.#stopRanks();
    this.#worker.terminate();
  }

  /** Ranks end by themselves after the plans under way; one that does not in time is aborted, then killed. */
  async #stopRanks(): Promise<void> {
    const ranks = this.#ranks;
    if (ranks === null) return;
    const reason = "the engine did not stop in time";
    const timer = setTimeout(() => ranks.abort(reason), STOP_TIMEOUT_MS);
    await ranks.results.catch(() => {});
    clearTimeout(timer);
    await ranks[Symbol.asyncDispose]();
  }
}

function deadError(reason: string): EngineDeadError {
  return new EngineDeadError(`Cannot generate as the engine has stopped: ${reason}`);
}
