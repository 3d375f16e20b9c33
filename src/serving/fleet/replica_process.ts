/**
 * A replica in a process of its own.
 * @module
 */
import { within } from "../../routing/within.ts";
import { readLines } from "./read_lines.ts";

/** How a replica is started. */
export interface ReplicaCommand {
  /** The program. */
  readonly program: string;
  /** What it is called with; every user of the machine can read this. */
  readonly args: readonly string[];
  /** Environment variables beside this process's own; keys travel here. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Options of {@linkcode ReplicaProcess.start}. */
export interface ReplicaProcessOptions {
  /** What to start. It must end when its standard input does. */
  readonly command: ReplicaCommand;
  /** Takes what it writes to stderr. */
  readonly onLine: (line: string) => void;
  /**
   * Time that it may say nothing before it serves, in milliseconds: weights may load for long, but the
   * process tells of its progress. Default 600000.
   */
  readonly silenceMs?: number;
}

/** What a replica prints when it serves. */
const READY = /\bready: (https?:\/\/\S+)/;

/** Time for the last lines of a process that has ended, in milliseconds: its own children may hold the pipe. */
const LAST_LINES_MS = 1000;

/**
 * A process that serves the OpenAI API once it has printed `ready: http://HOST:PORT` to its standard output.
 * Its standard input is a pipe that closes when this process ends, however it ends.
 */
export class ReplicaProcess {
  /** Its process id. */
  readonly pid: number;
  /** Resolves with its address when it serves; rejects when it ends first, or says nothing for too long. */
  readonly ready: Promise<string>;
  /** Resolves when it has ended, with how: `ended with code 1`, `was killed by SIGKILL`. */
  readonly ended: Promise<string>;
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess, options: ReplicaProcessOptions) {
    this.#child = child;
    this.pid = child.pid;
    const stdin = child.stdin.getWriter();
    this.ended = child.status.then(async ({ code, signal }) => {
      await stdin.close().catch(() => {});
      return signal === null ? `ended with code ${code}` : `was killed by ${signal}`;
    });
    this.ready = this.#watch(options);
    this.ready.catch(() => {}); // Whoever starts a replica may have stopped waiting for it.
  }

  /** Starts a process; throws when there is no such program. */
  static start(options: ReplicaProcessOptions): ReplicaProcess {
    const { program, args, env } = options.command;
    const child = new Deno.Command(program, {
      args: [...args],
      env: { ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    return new ReplicaProcess(child, options);
  }

  /** Asks it to end, kills it when it has not within `graceMs`, and resolves when it has ended. */
  async stop(graceMs: number): Promise<void> {
    this.#signal("SIGTERM");
    if (!await within(this.ended, graceMs)) this.#signal("SIGKILL");
    await this.ended;
  }

  async #watch({ onLine, silenceMs = 600_000 }: ReplicaProcessOptions): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const silence = new SilenceTimer(silenceMs, () => {
      reject(new Error(`its process ${this.pid} has said nothing for ${silenceMs / 1000} s`));
    });
    const errors = readLines(this.#child.stderr, (line) => {
      silence.restart();
      onLine(line);
    });
    const output = readLines(this.#child.stdout, (line) => {
      silence.restart();
      const url = READY.exec(line)?.[1];
      if (url !== undefined) resolve(url.replace(/\/$/, ""));
    });
    this.ended.then(async (end) => {
      await within(Promise.allSettled([errors, output]), LAST_LINES_MS);
      reject(new Error(`its process ${end} before it served`));
    });
    try {
      return await promise;
    } finally {
      silence.end();
    }
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended.
    }
  }
}

/** Calls back when it was not restarted for a while. */
class SilenceTimer {
  readonly #restart: () => ReturnType<typeof setTimeout>;
  #timer: ReturnType<typeof setTimeout> | null;

  constructor(milliseconds: number, onSilence: () => void) {
    this.#restart = () => setTimeout(onSilence, milliseconds);
    this.#timer = this.#restart();
  }

  /** Something was heard. */
  restart(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = this.#restart();
  }

  /** Nobody listens any more. */
  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
