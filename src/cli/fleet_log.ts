/**
 * What several replicas say, in the log of the process that started them.
 * @module
 */
import type { ReplicaStartError } from "../serving/fleet/replica_supervisor.ts";
import type { CliHost } from "./command.ts";
import { type LoggedEvent, parseLogLine } from "./log.ts";
import { createProgress, LOADING, progressIn } from "./progress.ts";

/** Passes on what replicas say, and shows how far they are together. */
export class FleetLog {
  readonly #host: CliHost;
  readonly #showProgress: (fraction: number) => void;
  readonly #loaded: number[];
  readonly #serving: boolean[];
  /** The last that each said before it served for the first time: why it does not, should it end. */
  readonly #lastWords: string[];
  /** What was told before all have served: replicas are alike, and what each would say is said once. */
  readonly #told = new Set<string>();
  /** What waits for the end of the progress, which it would break in two. */
  readonly #held: (() => void)[] = [];

  /** For `count` replicas. */
  constructor(count: number, host: CliHost) {
    this.#host = host;
    this.#loaded = new Array(count).fill(0);
    this.#serving = new Array(count).fill(false);
    this.#lastWords = new Array(count).fill("");
    const { terminal, writeError: write } = host;
    this.#showProgress = createProgress({ label: LOADING, terminal, write });
  }

  /** A replica has written a line to stderr. */
  line(rank: number, line: string): void {
    const { level, message, fields } = parseLogLine(line) ??
      { level: "warn", message: line, fields: {} };
    const fraction = progressIn(message, LOADING);
    if (fraction !== null) return this.#progress(rank, fraction);
    const isFirstStart = !this.#serving[rank];
    if (!isFirstStart) this.#log(rank, { level, message, fields });
    else if (level === "error") this.#lastWords[rank] = message;
    else if (rank === 0 || level === "warn") this.#tell(rank, level, message);
  }

  /** A replica serves. */
  serves(rank: number): void {
    this.#serving[rank] = true;
    this.#progress(rank, 1);
  }

  /** The router has found that a replica does not answer (why), or does again (null). */
  changed(rank: number, reason: string | null): void {
    if (reason !== null) this.#log(rank, { level: "warn", message: `down: ${reason}` });
    else if (this.#serving[rank]) this.#log(rank, { level: "info", message: "serves" });
  }

  /** The router gives a replica nothing for a while. */
  ejected(rank: number, reason: string): void {
    this.#log(rank, { level: "warn", message: `ejected: ${reason}` });
  }

  /** A replica's process has ended, or could not be started again; it will be in `retryMs`, unless that is null. */
  down(rank: number, { reason, retryMs }: { reason: string; retryMs: number | null }): void {
    if (retryMs === null) return this.#log(rank, { level: "info", message: reason });
    const message = `${reason}: starting it again in ${(retryMs / 1000).toFixed(1)} s`;
    this.#log(rank, { level: "error", message });
  }

  /** Tells what was held, and why a replica could not be started, in its own words where it had any. */
  startError(error: ReplicaStartError): Error {
    this.#release();
    const words = this.#lastWords[error.rank];
    return words === "" ? error : new Error(`Cannot start replica ${error.rank}: ${words}`);
  }

  #progress(rank: number, fraction: number): void {
    if (fraction < this.#loaded[rank]) return; // It is being started again.
    this.#loaded[rank] = fraction;
    const sum = this.#loaded.reduce((total, loaded) => total + loaded, 0);
    this.#showProgress(sum / this.#loaded.length);
    if (this.#serving.every((serves) => serves)) this.#release();
  }

  #release(): void {
    for (const log of this.#held.splice(0)) log();
  }

  #tell(rank: number, level: "info" | "warn", message: string): void {
    if (this.#told.has(message)) return;
    this.#told.add(message);
    this.#held.push(() => this.#log(rank, { level, message }));
  }

  #log(
    rank: number,
    { level, message, fields = {} }: Omit<LoggedEvent, "fields"> & Partial<LoggedEvent>,
  ): void {
    this.#host.log[level](`replica ${rank}: ${message}`, fields);
  }
}
