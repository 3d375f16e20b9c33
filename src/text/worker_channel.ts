/**
 * A queue of calls to a text worker that is replaced when it doesn't answer.
 * @module
 */
import { TextError } from "./text_error.ts";
import type { TextInfo, TextModelOptions } from "./text_model.ts";
import type { CallResult, FromTextWorker, TextCall, ToTextWorker } from "./text_protocol.ts";

/** Options of {@linkcode WorkerChannel}. */
export interface WorkerChannelOptions {
  /** Model folder. */
  readonly folder: string;
  /** Passed to the model in the worker. */
  readonly model: TextModelOptions;
  /** Calls sent in one message at most. */
  readonly maxBatch: number;
  /** Milliseconds a message may take. */
  readonly timeoutMs: number;
  /** Milliseconds loading the tokenizer may take. */
  readonly loadTimeoutMs: number;
  /** Calls that bring a fresh worker to the state of the one it replaces. */
  readonly restore: () => TextCall[];
}

/** A call that waits for its result. */
interface Pending {
  readonly call: TextCall;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: TextError) => void;
  /** Was in a message that was not answered: sent alone, so that the guilty call shows itself. */
  readonly alone: boolean;
}

/** What is to happen to the message under way. */
interface Watch {
  /** For the message of the error: `Cannot <task> within ...`. */
  readonly task: string;
  readonly timeoutMs: number;
  readonly onAnswer: (message: FromTextWorker) => void;
  readonly onFailure: (error: TextError) => void;
}

/** When a deadline passes this thread may itself have been busy: let answers that wait come first. */
const GRACE_MS = 50;

/**
 * One worker and the calls for it, in order, one message under way at a time: calls made in the
 * same task, and those made while the worker is busy, travel together.
 *
 * When a message isn't answered in time, or the worker dies, the worker is terminated and a
 * fresh one is started and brought to the same state. If the message held one call, that call is
 * rejected; otherwise each is sent again alone. Calls that waited behind are not touched.
 */
export class WorkerChannel implements Disposable {
  readonly #options: WorkerChannelOptions;
  #worker: Worker | null = null;
  #starting: Promise<TextInfo> | null = null;
  #queue: Pending[] = [];
  #inFlight: Pending[] = [];
  #watch: Watch | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #scheduled = false;
  #closed = false;

  /** Starts nothing yet. */
  constructor(options: WorkerChannelOptions) {
    this.#options = options;
  }

  /**
   * Starts the worker and loads the model, unless that has been done.
   *
   * @throws {TextError} when the model cannot be loaded.
   */
  start(): Promise<TextInfo> {
    this.#starting ??= this.#start().catch((error) => {
      this.#stopWorker();
      throw error;
    });
    return this.#starting;
  }

  /** Queues a call; the promise rejects with a TextError. */
  call<Result>(call: TextCall): Promise<Result> {
    if (this.#closed) return Promise.reject(closedError());
    return new Promise<Result>((resolve, reject) => {
      this.#queue.push({
        call,
        resolve: resolve as (value: unknown) => void,
        reject,
        alone: false,
      });
      this.#schedule();
    });
  }

  /** Terminates the worker; calls that wait are rejected. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#rejectAll(closedError());
    this.#fail(closedError());
  }

  /** Sends after the current task's calls have been made. */
  #schedule(): void {
    if (this.#scheduled || this.#inFlight.length > 0) return;
    this.#scheduled = true;
    queueMicrotask(async () => {
      try {
        await this.start();
        this.#send();
      } catch (error) {
        this.#rejectAll(asTextError(error));
      } finally {
        this.#scheduled = false;
      }
    });
  }

  #send(): void {
    if (this.#inFlight.length > 0 || this.#queue.length === 0 || this.#worker === null) return;
    const batch = this.#takeBatch();
    this.#inFlight = batch;
    this.#post({ calls: batch.map((pending) => pending.call) }, {
      task: "process the text",
      timeoutMs: this.#options.timeoutMs,
      onAnswer: (message) => this.#settle(batch, message),
      onFailure: (error) => this.#recover(error),
    });
  }

  #takeBatch(): Pending[] {
    const firstAlone = this.#queue.findIndex((pending) => pending.alone);
    const together = firstAlone < 0 ? this.#queue.length : Math.max(1, firstAlone);
    return this.#queue.splice(0, Math.min(together, this.#options.maxBatch));
  }

  #settle(batch: readonly Pending[], message: FromTextWorker): void {
    this.#inFlight = [];
    const results: readonly CallResult[] = "results" in message ? message.results : [];
    batch.forEach(({ resolve, reject }, index) => {
      const result = results[index];
      if ("value" in result) resolve(result.value);
      else reject(new TextError(result.error.message, result.error.reason));
    });
    if (this.#queue.length > 0) this.#schedule();
  }

  /** The worker is stuck or dead: find out which call did it, and go on without that one. */
  #recover(error: TextError): void {
    const batch = this.#inFlight;
    this.#inFlight = [];
    if (batch.length === 1) batch[0].reject(error);
    else this.#queue.unshift(...batch.map((pending) => ({ ...pending, alone: true })));
    if (this.#queue.length > 0) this.#schedule();
  }

  async #start(): Promise<TextInfo> {
    if (this.#closed) throw closedError();
    const { folder, model: options, loadTimeoutMs } = this.#options;
    const worker = new Worker(new URL("./text_worker.ts", import.meta.url), { type: "module" });
    this.#worker = worker;
    worker.onmessage = ({ data }) => {
      if (worker === this.#worker) this.#answer(data);
    };
    const loaded = await this.#request({ load: { folder, options } }, loadTimeoutMs);
    if ("failed" in loaded) throw new TextError(loaded.failed.message, loaded.failed.reason);
    if (!("loaded" in loaded)) throw new TextError("The text worker gave no answer", "worker");
    const calls = this.#options.restore();
    if (calls.length > 0) await this.#request({ calls }, loadTimeoutMs);
    return loaded.loaded;
  }

  #request(message: ToTextWorker, timeoutMs: number): Promise<FromTextWorker> {
    return new Promise((onAnswer, onFailure) =>
      this.#post(message, { task: "load the tokenizer", timeoutMs, onAnswer, onFailure })
    );
  }

  /** Sends one message and watches for its answer, the worker's death and the deadline. */
  #post(message: ToTextWorker, watch: Watch): void {
    const worker = this.#worker!;
    this.#watch = watch;
    worker.onerror = (event) => {
      // Unless prevented, an error in a worker ends the whole process.
      event.preventDefault();
      if (worker === this.#worker) {
        this.#fail(new TextError(`The text worker failed: ${event.message}`, "worker"));
      }
    };
    const expire = () =>
      this.#fail(
        new TextError(`Cannot ${watch.task} within ${watch.timeoutMs} ms: gave up`, "timeout"),
      );
    this.#timer = setTimeout(() => {
      this.#timer = setTimeout(expire, GRACE_MS);
    }, watch.timeoutMs);
    worker.postMessage(message);
  }

  /** Takes the answer to the message under way. */
  #answer(message: FromTextWorker): void {
    const watch = this.#watch;
    this.#watch = null;
    clearTimeout(this.#timer);
    watch?.onAnswer(message);
  }

  /** Gives the worker up. */
  #fail(error: TextError): void {
    const watch = this.#watch;
    this.#stopWorker();
    watch?.onFailure(error);
  }

  #stopWorker(): void {
    clearTimeout(this.#timer);
    this.#watch = null;
    this.#starting = null;
    this.#worker?.terminate();
    this.#worker = null;
  }

  #rejectAll(error: TextError): void {
    const pending = [...this.#inFlight, ...this.#queue];
    this.#inFlight = [];
    this.#queue = [];
    for (const { reject } of pending) reject(error);
  }
}

function closedError(): TextError {
  return new TextError("The text processor is closed", "closed");
}

function asTextError(error: unknown): TextError {
  return error instanceof TextError
    ? error
    : new TextError(`The text worker failed: ${error}`, "worker", { cause: error });
}
