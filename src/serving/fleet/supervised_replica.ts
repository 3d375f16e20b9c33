/**
 * One replica that is kept running.
 * @module
 */
import { BackOff, type BackOffOptions } from "./back_off.ts";
import { type ReplicaCommand, ReplicaProcess } from "./replica_process.ts";

/** What becomes of a replica is told to. */
export interface ReplicaLife {
  /** How to start it: asked anew each time. */
  readonly command: () => ReplicaCommand;
  /** Takes what it writes to stderr. */
  readonly onLine: (line: string) => void;
  /** It serves at an address. */
  readonly onServing: (url: string) => Promise<void>;
  /**
   * It does not serve any more, or could not be started again: why, and in how many milliseconds it is tried; null
   * for never.
   */
  readonly onDown: (reason: string, retryMs: number | null) => void;
}

/** Options of {@linkcode SupervisedReplica}. */
export interface SupervisionOptions extends BackOffOptions {
  /** Time that a process may say nothing before it serves, in milliseconds. Default 600000. */
  readonly silenceMs?: number;
}

/** Time that a process which was given up has to end before it is killed, in milliseconds. */
const GIVEN_UP_MS = 1000;

/** A replica's process, started again whenever it ends, until {@linkcode SupervisedReplica.stop}. */
export class SupervisedReplica {
  readonly #life: ReplicaLife;
  readonly #silenceMs: number | undefined;
  readonly #backOff: BackOff;
  readonly #released = new AbortController();
  #process: ReplicaProcess | null = null;
  #serves = false;
  #stopping = false;
  #kept: Promise<void> = Promise.resolve();

  /** Starts nothing yet. */
  constructor(life: ReplicaLife, options: SupervisionOptions = {}) {
    this.#life = life;
    this.#silenceMs = options.silenceMs;
    this.#backOff = new BackOff(options);
  }

  /** Process id; null while there is no process. */
  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  /** Resolves when it serves, and keeps it running from then on; rejects when it can't be started. */
  async start(): Promise<void> {
    const process = await this.#launch();
    this.#kept = this.#keep(process);
  }

  /** A process that is still starting is started anew, as its command has changed; one that serves goes on. */
  restartUnlessServing(): void {
    if (!this.#serves) this.#process?.stop(GIVEN_UP_MS);
  }

  /** Starts it no more when it has ended; until then it goes on. */
  release(): void {
    this.#released.abort();
  }

  /** Ends the process, and starts it no more; kills it when it has not ended within `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    this.release();
    await this.#process?.stop(graceMs);
    await this.#kept;
  }

  async #launch(): Promise<ReplicaProcess> {
    const { command, onLine, onServing } = this.#life;
    this.#released.signal.throwIfAborted();
    const process = ReplicaProcess.start({
      command: command(),
      onLine,
      silenceMs: this.#silenceMs,
    });
    this.#process = process;
    try {
      await onServing(await process.ready);
      this.#serves = true;
      return process;
    } catch (error) {
      await process.stop(GIVEN_UP_MS);
      this.#process = null;
      throw error;
    }
  }

  async #keep(first: ReplicaProcess): Promise<void> {
    let process: ReplicaProcess | null = first;
    let reason = "";
    while (true) {
      const started = performance.now();
      if (process !== null) {
        reason = `its process ${await process.ended}`;
        this.#serves = false;
        this.#process = null;
      }
      if (this.#stopping) return;
      if (this.#released.signal.aborted) return this.#life.onDown(reason, null);
      const retryMs = this.#backOff.next(process === null ? 0 : performance.now() - started);
      this.#life.onDown(reason, retryMs);
      await elapsed(retryMs, this.#released.signal);
      if (this.#released.signal.aborted) return;
      try {
        process = await this.#launch();
      } catch (error) {
        process = null;
        reason = error instanceof Error ? error.message : String(error);
      }
    }
  }
}

/** Resolves after a while, or when the signal fires. */
async function elapsed(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const onAbort = (): void => resolve();
  const timer = setTimeout(resolve, milliseconds);
  signal.addEventListener("abort", onAbort, { once: true });
  await promise;
  signal.removeEventListener("abort", onAbort);
  clearTimeout(timer);
}
