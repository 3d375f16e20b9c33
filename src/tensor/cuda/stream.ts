/**
 * The one stream of a CUDA device, and waiting for it under a deadline.
 * @module
 */
import type { Cudart } from "../../native/cudart.ts";
import { CudaStreamCapture, CudaStreamFlags } from "../../native/cudart_types.ts";
import type { Recording } from "../device.ts";
import { DeviceTimeoutError } from "../errors.ts";

/** Polls this often without sleeping: most waits are shorter. */
const SPINS = 2000;
const SLEEP_MS = 0.05;

/** Everything that a device does is queued here, in order. */
export class CudaStream implements Disposable {
  /** Handle for the libraries. */
  readonly handle: bigint;
  readonly #cudart: Cudart;
  readonly #timeoutMs: number;
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4));
  readonly #watchers = new Set<() => void>();
  #recording = false;
  #recordings = 0;
  #failed = false;

  /** Makes a stream of the current device; waits end after `timeoutMs`. */
  constructor(cudart: Cudart, timeoutMs: number) {
    this.#cudart = cudart;
    this.#timeoutMs = timeoutMs;
    this.handle = cudart.streamCreateWithFlags(CudaStreamFlags.cudaStreamNonBlocking);
  }

  /** Whether work is recorded in place of being run. */
  get recording(): boolean {
    return this.#recording;
  }

  /**
   * Whether work has failed or was given up. Such a GPU gives nothing back, and to ask it could last
   * forever: what is freed now is left to the end of the process.
   */
  get failed(): boolean {
    return this.#failed;
  }

  /** Recordings that were made and not yet disposed. */
  get recordings(): number {
    return this.#recordings;
  }

  /** Leaves the GPU alone from now on, as one that has failed. */
  abandon(): void {
    this.#failed = true;
  }

  /** A mark that can be put behind the work that the stream has. */
  event(): CudaEvent {
    return new CudaEvent(this.#cudart, this);
  }

  /** Calls `check` while the stream is waited for or polled, until disposed; what it throws ends the wait. */
  watch(check: () => void): Disposable {
    this.#watchers.add(check);
    return { [Symbol.dispose]: () => this.#watchers.delete(check) };
  }

  /** Looks whether something that the work depends on has failed; throws what the watchers throw. */
  poll(): void {
    this.query(() => {
      for (const check of this.#watchers) check();
      return true;
    });
  }

  /** What `query` says of the stream's work; when it throws, the stream has failed. */
  query(query: () => boolean): boolean {
    try {
      return query();
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  /**
   * Waits for the stream's work under the deadline; DeviceTimeoutError after it. Throws at once when the
   * stream has failed before.
   */
  waitForWork(isDone: () => boolean, what: string): void {
    if (this.#failed) throw new Error(`Cannot wait for ${what} as the GPU has failed`);
    this.query(() => {
      this.waitUntil(isDone, what);
      return true;
    });
  }

  /** Waits until `isDone` under a deadline; throws DeviceTimeoutError after it. */
  waitUntil(isDone: () => boolean, what: string, timeoutMs: number = this.#timeoutMs): void {
    for (let i = 0; i < SPINS; i++) if (isDone()) return;
    const end = performance.now() + timeoutMs;
    while (!isDone()) {
      if (performance.now() > end) throw new DeviceTimeoutError(what, timeoutMs);
      this.poll();
      Atomics.wait(this.#sleeper, 0, 0, SLEEP_MS);
    }
  }

  /** Waits until all work is done. */
  synchronize(): void {
    this.waitForWork(() => this.#cudart.streamQuery(this.handle), "the work of the stream");
  }

  /** Records what `run` queues as a graph. */
  record(run: () => void): Recording {
    const cudart = this.#cudart;
    cudart.streamBeginCapture(this.handle, CudaStreamCapture.cudaStreamCaptureModeThreadLocal);
    this.#recording = true;
    try {
      run();
    } catch (error) {
      this.#abandon();
      throw error;
    } finally {
      this.#recording = false;
    }
    const graph = cudart.streamEndCapture(this.handle);
    try {
      const executable = cudart.graphInstantiate(graph);
      this.#recordings++;
      return new CudaGraph(cudart, executable, this, () => this.#recordings--);
    } finally {
      cudart.graphDestroy(graph);
    }
  }

  /** Ends a capture whose error is already known. */
  #abandon(): void {
    try {
      this.#cudart.graphDestroy(this.#cudart.streamEndCapture(this.handle));
    } catch {
      // A capture that was invalidated has no graph.
    }
  }

  /** Frees the stream; its work must have ended. */
  [Symbol.dispose](): void {
    this.#cudart.streamDestroy(this.handle);
  }
}

/** A mark in a stream. */
export class CudaEvent implements Disposable {
  readonly #cudart: Cudart;
  readonly #stream: CudaStream;
  readonly #handle: bigint;

  /** An event without timing; counts as passed until it is first recorded. */
  constructor(cudart: Cudart, stream: CudaStream) {
    this.#cudart = cudart;
    this.#stream = stream;
    this.#handle = cudart.eventCreateWithFlags(CudaStreamFlags.cudaEventDisableTiming);
  }

  /** Puts the mark behind the work that the stream has now. */
  record(): void {
    this.#cudart.eventRecord(this.#handle, this.#stream.handle);
  }

  /** Whether the work before the mark is done; throws NativeError when it failed. */
  hasPassed(): boolean {
    return this.#stream.query(() => this.#cudart.eventQuery(this.#handle));
  }

  /** Frees the event. */
  [Symbol.dispose](): void {
    if (!this.#stream.failed) this.#cudart.eventDestroy(this.#handle);
  }
}

class CudaGraph implements Recording {
  readonly #cudart: Cudart;
  readonly #executable: bigint;
  readonly #stream: CudaStream;
  readonly #onDestroyed: () => void;

  constructor(
    cudart: Cudart,
    executable: bigint,
    stream: CudaStream,
    onDestroyed: () => void,
  ) {
    this.#cudart = cudart;
    this.#executable = executable;
    this.#stream = stream;
    this.#onDestroyed = onDestroyed;
    cudart.graphUpload(executable, stream.handle);
  }

  replay(): void {
    this.#cudart.graphLaunch(this.#executable, this.#stream.handle);
  }

  [Symbol.dispose](): void {
    if (this.#stream.failed) return;
    this.#cudart.graphExecDestroy(this.#executable);
    this.#onDestroyed();
  }
}
